import math
import sys

import pytest
import torch

from mmseg_wsss.models.losses import TokenIdentityLoss, token_identity

NEAR = dict(rtol=0, atol=1e-6)


def drawn(blocks=3, images=2, classes=4, width=5):
    return torch.randn(blocks, images, classes, width, requires_grad=True)


@pytest.mark.parametrize('name', ['mct_plus_cct', 'mct_plus_cct_last_2', 'mct_plus_cct_no_class'])
def test_contrastive_class_tokens_give_the_recorded_loss_and_gradient(name, golden):
    recorded = golden(name)
    tokens = recorded['tokens'].requires_grad_()
    loss = TokenIdentityLoss(blocks=int(recorded['num_cct']))(tokens, recorded['image_labels'])
    loss.backward()
    torch.testing.assert_close(loss, recorded['loss'], **NEAR)
    torch.testing.assert_close(tokens.grad, recorded['grad'], **NEAR)


def test_mores_token_loss_is_the_same_function(golden):
    recorded = golden('more_token_loss')
    tokens = recorded['tokens'].requires_grad_()
    loss = TokenIdentityLoss(temperature=0.07, blocks=1)(tokens[None])
    loss.backward()
    torch.testing.assert_close(loss, recorded['loss'], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(tokens.grad, recorded['grad'], rtol=1e-4, atol=1e-8)


def test_against_loops():
    tokens, weights = drawn().detach(), torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    total = 0.0
    for image in range(2):
        of_image, present = 0.0, weights[image].nonzero().flatten().tolist()
        for block in (1, 2):
            t = tokens[block, image]
            for c in present:
                scores = [float(t[c] @ t[d] / (t[c].norm() * t[d].norm())) / 0.5 for d in range(4)]
                of_image += math.log(sum(map(math.exp, scores))) - scores[c]
        total += of_image / 2 / len(present)
    actual = token_identity(tokens, weights, temperature=0.5, blocks=2)
    assert actual.item() == pytest.approx(total / 2, abs=1e-6)


def test_every_class_counts_without_weights_and_half_with_half_of_one():
    tokens = drawn()
    torch.testing.assert_close(token_identity(tokens), token_identity(tokens, torch.ones(2, 4)))
    one = torch.tensor([[1.0, 0, 0, 0]] * 2)
    torch.testing.assert_close(token_identity(tokens, one / 2), token_identity(tokens, one) / 2)
    three = torch.tensor([[1.0, 0, 0.5, 0]] * 2)
    other = torch.tensor([[0.0, 0, 1, 0]] * 2)
    mixed = (token_identity(tokens, one) + token_identity(tokens, other) / 2) / 1.5
    torch.testing.assert_close(token_identity(tokens, three), mixed)


def test_a_temperature_of_one_has_the_floor_of_the_docstring():
    orthogonal = torch.eye(20)[None, None]
    assert token_identity(orthogonal).item() == pytest.approx(math.log(1 + 19 / math.e), abs=1e-6)
    assert round(math.log(1 + 19 / math.e), 2) == 2.08
    floor = math.log(1 + 19 * math.exp(-2))
    assert token_identity(orthogonal, temperature=0.5).item() == pytest.approx(floor, abs=1e-6)
    assert token_identity(torch.ones(1, 1, 20, 3)).item() == pytest.approx(math.log(20), abs=1e-6), 'all alike'


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('case', ['no foreground', 'one class', 'one image', 'zero token'])
def test_value_and_gradient_are_finite(case, dtype):
    tokens = torch.randn(2, 1 if case == 'one image' else 2, 1 if case == 'one class' else 4, 5)
    if case == 'zero token':
        tokens[:, :, 0] = 0
    tokens = tokens.to(dtype).requires_grad_()
    weights = torch.zeros(tokens.shape[1:3]) if case == 'no foreground' else torch.ones(tokens.shape[1:3])
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = token_identity(tokens, weights)
    loss.backward()
    assert loss.dtype == torch.float32
    assert tokens.grad.isfinite().all()
    if case in ('no foreground', 'one class'):
        assert loss.item() == 0
        assert tokens.grad.abs().max() == 0
    else:
        assert 0 < loss.item() < math.log(1 + 3 * math.exp(2))


def test_half_precision_does_not_reach_the_similarities():
    tokens = drawn().detach()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(token_identity(tokens), token_identity(tokens.clone()))
        inside = token_identity(tokens)
    assert torch.equal(inside, token_identity(tokens))


def test_an_image_without_classes_counts_as_zero_so_processes_agree():
    """The mean over images is linear: processes with equally many images average to the loss of the whole batch."""
    tokens, weights = drawn(images=4), torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]])
    halves = [token_identity(tokens[:, part], weights[part]) for part in (slice(2), slice(2, 4))]
    torch.testing.assert_close(token_identity(tokens, weights), sum(halves) / 2)
    alone = token_identity(tokens[:, :1], weights[:1])
    torch.testing.assert_close(halves[0], alone / 2)


def test_module_weighs_and_has_published_defaults():
    tokens, weights = drawn(), torch.ones(2, 4)
    torch.testing.assert_close(TokenIdentityLoss()(tokens, weights), token_identity(tokens, weights, temperature=1.0))
    torch.testing.assert_close(TokenIdentityLoss(loss_weight=0.5)(tokens), token_identity(tokens) / 2)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(temperature=0), 'temperature must be positive, got 0'),
        (dict(temperature=-1.0), 'temperature must be positive, got -1.0'),
        (dict(blocks=0), 'blocks must be at least 1, or None for all, got 0'),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        TokenIdentityLoss(**arguments)


def test_smallest_possible_settings():
    loss = TokenIdentityLoss(temperature=sys.float_info.min, blocks=1)
    assert (loss.temperature, loss.blocks) == (sys.float_info.min, 1)
