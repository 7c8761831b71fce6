import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.losses import CertainTokenLoss, certain_tokens


@pytest.mark.parametrize('temperature', ['0.5', '0.1'])
@pytest.mark.parametrize('case', ['mixed', 'no_foreground'])
def test_recorded_loss_and_gradient(golden, case, temperature):
    g = golden(f'more_certain_{case}_{temperature}')
    tokens, features = g['tokens'].requires_grad_(), g['map'].requires_grad_()
    loss = certain_tokens(tokens, features, g['labels'].long(), temperature=float(temperature))
    loss.backward()
    torch.testing.assert_close(loss, g['loss'], rtol=1e-5, atol=1e-4)
    assert (tokens.grad - g['grad_tokens']).abs().max() <= 1e-3 * g['grad_tokens'].abs().max()
    assert features.grad is None, 'patch tokens do not learn from it'


def test_against_loops():
    tokens, features = torch.randn(2, 3, 4), torch.randn(2, 4, 2, 2)
    label = torch.tensor([[[1, 255], [3, 1]], [[0, 0], [2, 0]]])
    expected = 0.0
    for b in range(2):
        for c in range(3):
            unit = tokens[b, c] / tokens[b, c].norm()
            scores = [math.exp(unit @ features[b, :, y, x] / 0.2) for y in range(2) for x in range(2)]
            own = [s for s, one in zip(scores, label[b].flatten().tolist(), strict=True) if one == c + 1]
            expected += sum(-math.log(s / (sum(scores) + 1e-4)) for s in own) / (len(own) + 1e-4)
    assert certain_tokens(tokens, features, label, temperature=0.2).item() == pytest.approx(expected / 2, rel=1e-5)


def test_scores_whose_exponentials_overflow():
    """A patch token of length 10 and an equal class token at COCO's temperature: exp(100) is no float32."""
    tokens, label = torch.tensor([[[1.0, 0.0]]], requires_grad=True), torch.tensor([[[1, 0]]])
    features = torch.tensor([[[[10.0, 0.0]], [[0.0, 9.5]]]])
    scores = F.normalize(tokens, dim=-1) @ features.flatten(2) / 0.1
    assert not (scores.exp() / (scores.exp().sum() + 1e-4)).isfinite().all(), 'the published formula'
    loss = certain_tokens(tokens, features, label, temperature=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert tokens.grad.isfinite().all()
    wrong = certain_tokens(tokens, features, 1 - label, temperature=0.1)
    assert wrong.item() == pytest.approx(100 / (1 + 1e-4), rel=1e-6)


def test_the_small_constant_of_both_denominators():
    """One patch token with a score of log 1e-4: as large as the constant."""
    score = math.log(1e-4)
    args = torch.ones(1, 1, 1), torch.full((1, 1, 1, 1), score), torch.ones(1, 1, 1, dtype=torch.long)
    assert certain_tokens(*args, temperature=1.0).item() == pytest.approx(math.log(2) / (1 + 1e-4), rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('case', ['no foreground', 'one class', 'one image', 'nothing certain', 'zero token'])
def test_value_and_gradient_are_finite(case, dtype):
    count, classes = 1 if case == 'one image' else 2, 1 if case == 'one class' else 3
    tokens, features = torch.randn(count, classes, 4), 20 * torch.randn(count, 4, 3, 3)
    if case == 'zero token':
        tokens[:, 0] = 0
    tokens = tokens.to(dtype).requires_grad_()
    label = torch.full((count, 3, 3), {'no foreground': 0, 'nothing certain': 255}.get(case, 1))
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = certain_tokens(tokens, features.to(dtype), label)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert tokens.grad.isfinite().all()
    if case in ('no foreground', 'nothing certain'):
        assert loss.item() == 0
        assert tokens.grad.abs().max() == 0
    else:
        assert loss.item() > 0


def test_half_precision_does_not_reach_the_scores():
    args = torch.randn(2, 3, 4), torch.randn(2, 4, 3, 3), torch.randint(0, 4, (2, 3, 3))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = certain_tokens(*args)
    assert torch.equal(inside, certain_tokens(*args))


def test_processes_average_to_the_whole_batch():
    args = torch.randn(4, 3, 4), torch.randn(4, 4, 3, 3), torch.randint(0, 4, (4, 3, 3))
    args[2][0] = 0
    halves = [certain_tokens(*(one[part] for one in args)) for part in (slice(2), slice(2, 4))]
    torch.testing.assert_close(certain_tokens(*args), sum(halves) / 2)


def test_module_weighs_and_has_published_defaults():
    args = torch.randn(2, 3, 4), torch.randn(2, 4, 3, 3), torch.randint(0, 4, (2, 3, 3))
    torch.testing.assert_close(CertainTokenLoss()(*args), 0.2 * certain_tokens(*args, temperature=0.5))
    torch.testing.assert_close(certain_tokens(*args), certain_tokens(*args, temperature=0.5))
    other = CertainTokenLoss(temperature=0.1, loss_weight=3.0)(*args)
    torch.testing.assert_close(other, 3 * certain_tokens(*args, temperature=0.1))
    with pytest.raises(ValueError, match=r'^temperature must be positive, got 0$'):
        CertainTokenLoss(temperature=0)
