"""MCTformer's head against its formulas, with every attention map in full."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.backbones import SelfAttention, Tokens
from mmseg_wsss.models.cam import attention_map
from mmseg_wsss.models.cam_heads import MCTCAMHead

BATCH, CLASSES, WIDTH, SIDE = 2, 3, 8, 4
BLOCKS, HEADS = 3, 2
N = CLASSES + SIDE * SIDE


def drawn_tokens(head, dtype=torch.float32, batch=BATCH):
    shape = (batch, HEADS, N, WIDTH // HEADS)
    attention = [
        SelfAttention(*(2 * torch.randn(2, *shape, dtype=dtype)), *torch.randn(2, batch, N, WIDTH, dtype=dtype))
        for _ in range(BLOCKS)
    ]
    maps = torch.randn(batch, WIDTH, SIDE, SIDE, dtype=dtype)
    return Tokens((maps,), torch.randn(batch, CLASSES, WIDTH, dtype=dtype), tuple(map(head.record, attention)))


def build(**arguments):
    return MCTCAMHead(num_classes=CLASSES, in_channels=WIDTH, **arguments).eval()


@pytest.mark.parametrize('last', [None, 1, 2])
@pytest.mark.parametrize('fusion', ['sqrt', 'product', 'patch', 'class'])
def test_cams_against_whole_maps(fusion, last):
    head = build(fusion=fusion, num_blocks=last)
    tokens = drawn_tokens(head)
    maps = torch.stack([attention_map(query, key).mean(dim=1) for query, key in tokens.recorded])  # (K, B, n, n)
    attention = maps[-(last or BLOCKS) :].mean(dim=0)[:, :CLASSES, CLASSES:]
    cam = head.classifier(tokens.maps[-1]).relu().flatten(2)
    fused = dict(sqrt=(attention * cam) ** 0.5, product=attention * cam, patch=cam, **{'class': attention})[fusion]
    spread = torch.einsum('bmn,bcn->bcm', maps.sum(dim=0)[:, CLASSES:, CLASSES:], fused)
    size = (SIDE, SIDE)
    torch.testing.assert_close(head.fused(tokens), fused.detach().unflatten(-1, size), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(head.cams(tokens), spread.detach().unflatten(-1, size), rtol=1e-4, atol=1e-6)
    assert not head.cams(tokens).requires_grad


def test_logits_and_losses_by_hand():
    head = build(decay=0.5)
    tokens, label = drawn_tokens(head), torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    token, patch = head(tokens)
    torch.testing.assert_close(token, tokens.cls_token.sum(dim=-1) / WIDTH)
    ranked = head.classifier(tokens.maps[-1]).flatten(2).sort(descending=True).values
    weights = torch.tensor([0.5**rank for rank in range(SIDE * SIDE)])
    torch.testing.assert_close(patch, ranked @ weights / weights.sum())
    losses = head.loss(tokens, label)
    assert losses.keys() == {'loss_token', 'loss_patch'}
    for name, logits in (('loss_token', token), ('loss_patch', patch)):
        torch.testing.assert_close(losses[name], F.binary_cross_entropy_with_logits(logits, label))


def test_losses_need_nothing_recorded():
    head = build()
    tokens = drawn_tokens(head)
    label = torch.zeros(BATCH, CLASSES)
    assert head.loss(tokens._replace(recorded=()), label) == head.loss(tokens, label)


def test_published_defaults():
    head, cams = build(), build(fusion='sqrt', num_blocks=BLOCKS, decay=0.996)
    cams.load_state_dict(head.state_dict())
    tokens = drawn_tokens(head)
    assert torch.equal(head.cams(tokens), cams.cams(tokens))
    assert torch.equal(head(tokens)[1], cams(tokens)[1])
    assert head.classifier.weight.shape == (CLASSES, WIDTH, 3, 3)
    assert head.classifier(torch.zeros(1, WIDTH, 5, 7)).shape == (1, CLASSES, 5, 7), 'padded'


def test_the_convolution_has_pytorchs_own_initial_weights():
    torch.manual_seed(3)
    head = build()
    head.init_weights()
    torch.manual_seed(3)
    own = torch.nn.Conv2d(WIDTH, CLASSES, kernel_size=3, padding=1)
    assert torch.equal(head.classifier.weight, own.weight)
    assert torch.equal(head.classifier.bias, own.bias)


def test_half_precision_is_left_before_the_fusion():
    head = build()
    tokens = drawn_tokens(head, torch.bfloat16, batch=1)
    recorded = tuple((query.float(), key.float()) for query, key in tokens.recorded)
    exact = Tokens((tokens.maps[0].float(),), tokens.cls_token, recorded)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cams = head.cams(tokens)
    assert cams.dtype == torch.float32
    expected = head.cams(exact)
    assert (cams - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(fusion='sum'), r"fusion must be one of \['class', 'patch', 'product', 'sqrt'\], got 'sum'"),
        (dict(num_blocks=0), 'num_blocks must be at least 1, or None for all, got 0'),
        (dict(decay=1.001), r'decay must be in \[0, 1\], got 1.001'),
        (dict(decay=-0.001), r'decay must be in \[0, 1\], got -0.001'),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        build(**arguments)


def test_settings_at_their_limits():
    assert [build(decay=decay).decay for decay in (0, 1)] == [0, 1]
    assert build(num_blocks=1).num_blocks == 1
