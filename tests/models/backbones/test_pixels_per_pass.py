"""An encoder that works in chunks: the same tokens, losses and gradients, the memory of one chunk."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tiny_toco import build_toco, make_batch, total
from tiny_weaktr import build_weaktr
from torch import nn

from mmseg_wsss.models import TokenViT

sys.path.insert(0, str(Path(__file__).parents[3] / 'benchmarks'))

from allocation_counter import AllocationCounter

SMALL = dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=128)
SIDE = 64


def build(**changes) -> TokenViT:
    torch.manual_seed(0)
    vit = TokenViT(arch=SMALL, img_size=SIDE, patch_size=8, out_indices=(1, 3), **changes)
    vit.init_weights()
    return vit.train()


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def assert_close(left: dict, right: dict, **tolerance) -> None:
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], msg=lambda text, name=name: f'{name}: {text}', **tolerance)


@pytest.mark.parametrize(('pixels', 'sizes'), [(SIDE**2, [1] * 5), (2 * SIDE**2 + 1, [2, 2, 1]), (1, [1] * 5)])
def test_chunks_hold_as_many_images_as_the_pixels_allow(pixels, sizes):
    vit, seen = build(pixels_per_pass=pixels), []
    vit.patch_embed.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    with torch.no_grad():
        vit(torch.randn(5, 3, SIDE, SIDE))
    assert seen == sizes
    seen.clear()
    vit(torch.randn(5, 3, SIDE, SIDE))[1].sum().backward()
    assert seen == [*sizes, *reversed(sizes)], 'each chunk once more in backward, the last one first'


@pytest.mark.parametrize(
    ('wrapped', 'training', 'sizes'),
    [(True, False, [3]), (True, True, [1, 1, 1]), (False, False, [1, 1, 1]), (False, True, [1, 1, 1])],
)
def test_evaluation_with_wrapped_blocks_takes_the_batch_at_once(wrapped, training, sizes):
    """FSDP's blocks wait for all processes at every call, and these evaluate images of different sizes."""
    vit, seen = build(pixels_per_pass=SIDE**2), []
    if wrapped:
        vit.layers = nn.ModuleList(nn.Sequential(layer) for layer in vit.layers)
    vit.layers[0].register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    with torch.no_grad():
        vit.train(training)(torch.randn(3, 3, SIDE, SIDE))
    assert seen == sizes


class _Seen(NamedTuple):
    pooled: torch.Tensor
    parts: list


def record(attention):
    return _Seen(attention.output.amax(dim=1), [attention.query, {'key': attention.key}])


def test_tokens_what_was_recorded_and_gradients_are_those_of_the_whole_batch():
    images = torch.randn(5, 3, SIDE, SIDE)
    results = []
    for pixels in (None, 2 * SIDE**2):
        vit = build(pixels_per_pass=pixels)
        tokens = vit.tokens(images, record=record)
        seen = [part for block in tokens.recorded for part in (block.pooled, block.parts[0], block.parts[1]['key'])]
        parts = [*tokens.maps, tokens.cls_token, *seen]
        assert [len(part) for part in parts] == [5] * 15
        # a value that couples the images, as a loss over the whole batch does
        (sum(part.float().pow(2).sum() for part in parts) ** 0.5).backward()
        results.append((dict(enumerate(parts)), gradients(vit)))
    assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-5)


def test_draws_are_repeated_in_backward():
    """The gradient belongs to the blocks that were dropped in the forward pass, not to newly drawn ones."""
    images = torch.randn(4, 3, SIDE, SIDE)
    results = []
    for pixels in (None, SIDE**2):
        vit = build(pixels_per_pass=pixels, drop_path_rate=0.6, drop_rate=0.3)
        torch.manual_seed(5)
        pieces = images.split(1) if pixels is None else [images]
        torch.cat([vit.tokens(piece).maps[1] for piece in pieces]).pow(2).sum().backward()
        results.append(gradients(vit))
    assert_close(*results, rtol=1e-4, atol=1e-5)


def test_autocast():
    images = torch.randn(4, 3, SIDE, SIDE)
    results = []
    for pixels in (None, SIDE**2):
        vit = build(pixels_per_pass=pixels)
        with torch.autocast('cpu', torch.bfloat16):
            tokens = vit.tokens(images)
        assert tokens.maps[0].dtype == torch.float32
        tokens.cls_token.pow(3).sum().backward()
        results.append((tokens.cls_token.detach(), vit.layers[0].attn.qkv.weight.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-5)
    assert results[0][1].norm() > 0.1
    assert (results[0][1] - results[1][1]).norm() < 0.02 * results[0][1].norm(), 'bfloat16 sums in another order'


def peak(count: int, pixels: int | None) -> int:
    """Bytes alive at the worst moment of a forward and backward pass of ``count`` images."""
    vit, images = build(pixels_per_pass=pixels), torch.randn(count, 3, SIDE, SIDE)
    with AllocationCounter() as memory:
        tokens = vit.tokens(images)
        (tokens.maps[1].mean() + tokens.cls_token.mean()).backward()
    return memory.peak


def test_memory_is_that_of_one_chunk_and_the_tokens():
    plain = {count: peak(count, None) for count in (1, 16)}
    chunked = {count: peak(count, SIDE**2) for count in (1, 16)}
    assert chunked[1] == plain[1], 'one chunk is a plain pass'
    more = {name: (case[16] - case[1]) / 15 for name, case in (('plain', plain), ('chunked', chunked))}
    assert more['chunked'] < 0.1 * more['plain'], 'an image more costs its two maps and their gradients'
    assert chunked[16] < 0.15 * plain[16]


LABELS = [[0], [1, 2], [0, 2], [1]]


@pytest.mark.parametrize('build_model', [build_toco, build_weaktr])
def test_methods_have_the_losses_and_gradients_of_the_whole_batch(build_model):
    views, samples = make_batch(LABELS)
    results = []
    for pixels in (None, 32 * 32):
        torch.manual_seed(0)
        model = build_model()
        model.backbone.pixels_per_pass = pixels
        torch.manual_seed(1)
        losses = model.loss(views if build_model is build_toco else views['img'], samples)
        total(losses).backward()
        results.append(({name: loss.detach() for name, loss in losses.items()}, gradients(model)))
    assert len(results[0][0]) >= 3
    assert_close(results[0][0], results[1][0], rtol=0, atol=1e-5)
    assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-5)


def test_no_pixels_are_refused():
    with pytest.raises(ValueError, match='pixels_per_pass must be positive or None, got 0'):
        build(pixels_per_pass=0)
