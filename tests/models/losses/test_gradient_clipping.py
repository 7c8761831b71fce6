"""Gradient clipping against the published code's recording and against a slow loop over the paper's formula."""

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_wsss.models.losses import (
    GradientClippedCrossEntropy,
    clipped_cross_entropy,
    clipping_threshold,
    reduction,
)

IGNORE = 255


def draw(*size: int, classes: int = 4, ignored: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that mostly agree with the labels, so that some pixels stand out."""
    label = torch.randint(classes, size)
    logits = torch.randn(len(label), classes, *size[1:]) + 2 * F.one_hot(label, classes).permute(0, 3, 1, 2)
    if ignored:
        label[torch.rand(size) < 0.2] = IGNORE
    return logits, label


@pytest.mark.parametrize('name', ['weaktr_clip_on', 'weaktr_clip_off'])
def test_recorded_loss_map_mean_and_gradient_of_the_published_code(golden, name):
    g = golden(name)
    logits = g['logits'].requires_grad_()
    options = dict(start_value=g['start_value'].item(), patch_size=g['patch_size'].item(), batch_threshold=True)
    loss_map, clipped = clipped_cross_entropy(logits, g['labels'], **options)
    torch.testing.assert_close(loss_map, g['clipped_loss_map'], rtol=0, atol=1e-6)
    assert clipped.any() == (name == 'weaktr_clip_on')
    loss = GradientClippedCrossEntropy(**options)(logits, g['labels'])
    torch.testing.assert_close(loss, g['loss'], rtol=0, atol=1e-6)
    loss.backward()
    torch.testing.assert_close(logits.grad, g['grad'], rtol=0, atol=1e-8)


def slow_paper_rule(loss_map, label, *, start_value, patch_size):
    """Eq. 9 to 17 with one loop per image, patch and pixel, means over labelled pixels."""
    value = loss_map.tolist()
    images, height, width = loss_map.shape
    labelled = [
        [(j, k) for j in range(height) for k in range(width) if label[b, j, k] != IGNORE] for b in range(images)
    ]
    everything = [value[b][j][k] for b in range(images) for j, k in labelled[b]]
    result = [[row[:] for row in image] for image in value]
    clipped = torch.zeros(loss_map.shape, dtype=torch.bool)
    if sum(everything) / len(everything) > start_value:
        return torch.tensor(result), clipped
    for b in range(images):
        overall = sum(value[b][j][k] for j, k in labelled[b]) / len(labelled[b])
        for j, k in labelled[b]:
            patch = [
                value[b][y][x]
                for y, x in labelled[b]
                if (y // patch_size, x // patch_size) == (j // patch_size, k // patch_size)
            ]
            threshold = max(sum(patch) / len(patch), overall)
            if value[b][j][k] > threshold:
                result[b][j][k], clipped[b, j, k] = threshold, True
    return torch.tensor(result), clipped


@pytest.mark.parametrize('size', [(12, 12), (11, 14)], ids=['whole patches', 'smaller patches at the border'])
@pytest.mark.parametrize('start_value', [0.2, 5.0])
def test_the_papers_rule_per_image(size, start_value):
    logits, label = draw(2, *size)
    logits[1] *= 0.3  # an image that is harder than the other, so that one threshold for both would differ
    options = dict(start_value=start_value, patch_size=4)
    plain = F.cross_entropy(logits, label, ignore_index=IGNORE, reduction='none')
    expected, expected_clipped = slow_paper_rule(plain, label, **options)
    loss_map, clipped = clipped_cross_entropy(logits, label, **options)
    torch.testing.assert_close(loss_map, expected)
    assert torch.equal(clipped, expected_clipped)
    assert clipped.any() == (start_value == 5.0)
    if start_value == 5.0:
        assert not torch.equal(clipped, clipped_cross_entropy(logits, label, batch_threshold=True, **options)[1])


def test_gradient_is_zero_at_the_clipped_pixels_and_the_plain_one_elsewhere():
    logits, label = draw(2, 12, 12)
    clipping, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = GradientClippedCrossEntropy(start_value=5, patch_size=4)
    loss(clipping, label).backward()
    F.cross_entropy(plain, label, ignore_index=IGNORE, reduction='sum').div(label.numel()).backward()
    none = (clipping.grad == 0).all(dim=1)
    assert 0 < loss.clipped.sum() < label.numel()
    assert torch.equal(none, loss.clipped | (label == IGNORE))
    assert not (loss.clipped & (label == IGNORE)).any()
    torch.testing.assert_close(clipping.grad, torch.where(none[:, None], 0, plain.grad), rtol=1e-5, atol=1e-9)


def test_one_image_has_the_batch_threshold():
    logits, label = draw(1, 10, 12, ignored=False)
    options = dict(start_value=5.0, patch_size=4)
    ours = clipped_cross_entropy(logits, label, **options)
    published = clipped_cross_entropy(logits, label, batch_threshold=True, **options)
    torch.testing.assert_close(ours[0], published[0])
    assert torch.equal(ours[1], published[1])
    assert ours[1].any()


@pytest.mark.parametrize('batch_threshold', [False, True])
def test_pixels_that_are_all_ignored_cost_nothing(batch_threshold):
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    loss = GradientClippedCrossEntropy(patch_size=4, batch_threshold=batch_threshold)
    value = loss(logits, torch.full((2, 8, 8), IGNORE))
    value.backward()
    assert value.item() == 0
    assert not loss.clipped.any()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_padding_does_not_lower_the_threshold():
    logits, label = draw(2, 8, 8, ignored=False)
    options = dict(start_value=5.0, patch_size=4)
    alone, _ = clipped_cross_entropy(logits, label, **options)
    padded, _ = clipped_cross_entropy(F.pad(logits, (0, 8, 0, 8)), F.pad(label, (0, 8, 0, 8), value=IGNORE), **options)
    torch.testing.assert_close(padded[:, :8, :8], alone)


def test_threshold_by_hand():
    value = torch.tensor([[[1.0, 3.0, 0.0], [2.0, 2.0, 0.0]]])
    ones = torch.ones_like(value)
    # patches of 2: the left one has the mean 2, the column left over 0; the image has 8 / 6
    expected = [[2, 2, 4 / 3], [2, 2, 4 / 3]]
    torch.testing.assert_close(clipping_threshold(value, ones, 2)[0], torch.tensor(expected))
    counted = torch.tensor([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
    torch.testing.assert_close(clipping_threshold(value * counted, counted, 1)[0, 0], torch.tensor([4 / 3, 3, 4 / 3]))


def test_the_mean_over_the_batch_decides_whether_anything_is_clipped():
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 1, 0, 1] = 2.0
    label = torch.zeros(1, 1, 2, dtype=torch.long)
    values = [math.log(2), math.log(1 + math.exp(2))]
    mean = sum(values) / 2  # 1.41
    below, clipped = clipped_cross_entropy(logits, label, start_value=mean + 0.01, patch_size=1)
    assert not clipped.any()  # a patch of one pixel is its own mean
    below, clipped = clipped_cross_entropy(logits, label, start_value=mean + 0.01, patch_size=2)
    assert clipped.tolist() == [[[False, True]]]
    assert below[0, 0].tolist() == pytest.approx([values[0], mean], abs=1e-6)
    above, clipped = clipped_cross_entropy(logits, label, start_value=mean - 0.01, patch_size=2)
    assert not clipped.any()
    assert above[0, 0].tolist() == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32(dtype):
    logits, label = draw(2, 64, 64)
    loss = GradientClippedCrossEntropy(start_value=5, patch_size=16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(logits.to(dtype), label)
    kept = loss.clipped
    reference = loss(logits.to(dtype).float(), label)
    assert value.dtype == torch.float32
    assert value.item() == reference.item()
    assert torch.equal(kept, loss.clipped)
    assert loss(torch.full((1, 3, 64, 64), 6e4, dtype=torch.float16), label[:1].clamp(max=2)).item() == pytest.approx(
        math.log(3), abs=1e-5
    )


def test_weights_and_averaging():
    logits, label = draw(2, 8, 8)
    loss = MODELS.build(dict(type='GradientClippedCrossEntropy', start_value=5, patch_size=4, loss_weight=0.5))
    weight = torch.rand(2, 8, 8)
    loss_map, _ = clipped_cross_entropy(logits, label, start_value=5, patch_size=4)
    assert loss(logits, label).item() == pytest.approx(0.5 * loss_map.mean().item(), rel=1e-6)
    assert loss(logits, label, weight=weight).item() == pytest.approx(0.5 * (loss_map * weight).mean().item(), rel=1e-6)
    assert loss(logits, label, avg_factor=10).item() == pytest.approx(0.05 * loss_map.sum().item(), rel=1e-6)
    assert loss.loss_name == 'loss_seg'


def test_published_values_are_the_defaults():
    loss = GradientClippedCrossEntropy()
    assert (loss.start_value, loss.patch_size, loss.batch_threshold, loss.loss_weight) == (1.2, 120, False, 1.0)
    logits, label = draw(1, 240, 240)
    logits *= 0.75  # a mean of about 1
    ours, clipped = clipped_cross_entropy(logits, label)
    named, same = clipped_cross_entropy(logits, label, start_value=1.2, patch_size=120)
    assert torch.equal(ours, named)
    assert torch.equal(clipped, same)
    assert clipped.any()
    assert not clipped_cross_entropy(0.1 * logits, label)[1].any(), 'a mean of 1.3 is above tau'


def test_a_mean_of_exactly_tau_starts_the_clipping():
    """Two classes: the losses log 2 (undecided) and log(1 + e^2), and tau their very mean in float32."""
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 1, 0, 1] = 2.0
    label = torch.zeros(1, 1, 2, dtype=torch.long)
    tau = F.cross_entropy(logits, label).item()
    assert clipped_cross_entropy(logits, label, start_value=tau, patch_size=2)[1].tolist() == [[[False, True]]]


def test_the_smallest_patch_crop_and_head():
    logits, label = draw(1, 4, 6, classes=2)
    for size in (1, 4):  # of a pixel; as high as the crop
        loss = GradientClippedCrossEntropy(start_value=5, patch_size=size)
        expected, _ = clipped_cross_entropy(logits, label, start_value=5, patch_size=size)
        torch.testing.assert_close(loss(logits, label), expected.mean())
    label[label == IGNORE] = 7
    other, _ = clipped_cross_entropy(logits, label, start_value=5, patch_size=4, ignore_index=7)
    torch.testing.assert_close(loss(logits, label, ignore_index=7), other.mean())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(start_value=0), r'start_value .*tau.* must be positive, got 0'),
        (dict(start_value=float('nan')), 'start_value .* must be positive, got nan'),
        (dict(patch_size=0), 'patch_size .* >= 1, got 0'),
        (dict(patch_size=7.5), 'patch_size .* whole number .* got 7.5'),
    ],
)
def test_values_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        GradientClippedCrossEntropy(**options)


def test_what_does_not_fit_is_refused_at_the_first_call():
    logits, label = draw(1, 64, 48)
    with pytest.raises(ValueError, match=r'patch_size .* is 60, but the training crop is 64x48 .* \(12\)'):
        GradientClippedCrossEntropy(patch_size=60)(logits, label)
    with pytest.raises(ValueError, match=r'the decode head has one: set decode_head\.out_channels'):
        GradientClippedCrossEntropy(patch_size=8)(logits[:, :1], label)


@pytest.mark.parametrize('batch_threshold', [False, True])
@pytest.mark.parametrize(('start_value', 'clips'), [(0.7, False), (0.9, True)])
def test_two_processes_clip_as_one_with_both_batches(monkeypatch, batch_threshold, start_value, clips):
    """A mean of 1.1 in one process, of 0.5 in the other: 0.8 decides for both."""
    logits, label = draw(4, 8, 8, ignored=False)
    label[2:, :, ::2] = IGNORE
    label[:2, :, 1::2] = IGNORE
    plain = F.cross_entropy(logits, label, ignore_index=IGNORE, reduction='none')
    factor = torch.tensor([1.1, 1.1, 0.5, 0.5])[:, None, None] * 32 / plain.sum(dim=(1, 2), keepdim=True)
    start_value /= 2 if batch_threshold else 1  # ignored pixels count as zeros there, and half are
    options = dict(start_value=start_value, patch_size=4, batch_threshold=batch_threshold)
    monkeypatch.setattr(F, 'cross_entropy', lambda logits, *_, **__: logits[:, 0])  # the loss map itself
    maps = (plain * factor)[:, None]
    expected_map, expected_clipped = clipped_cross_entropy(maps, label, **options)
    assert expected_clipped.any() == clips

    meeting, sums = Barrier(2, timeout=60), []

    def all_reduce(total):
        sums.append(total.clone())
        meeting.wait()
        result = sum(sums)
        meeting.wait()
        sums.clear()
        meeting.wait()
        total.copy_(result)

    monkeypatch.setattr(reduction, 'get_world_size', lambda: 2)
    monkeypatch.setattr(reduction, 'all_reduce', all_reduce)
    with ThreadPoolExecutor(2) as processes:
        parts = (slice(2), slice(2, 4))
        shares = [*processes.map(lambda part: clipped_cross_entropy(maps[part], label[part], **options), parts)]
    torch.testing.assert_close(torch.cat([share[0] for share in shares]), expected_map)
    assert torch.equal(torch.cat([share[1] for share in shares]), expected_clipped)
