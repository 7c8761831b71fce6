"""ExactCRF: a loop over all pairs of pixels, pydensecrf, and the sums in themselves."""

import math
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from PIL import Image

from mmseg_wsss.models.bilateral_sum import exact_bilateral_sum
from mmseg_wsss.models.refiners import exact_crf
from mmseg_wsss.models.refiners.exact_crf import gaussian_sum

VOC = Path(__file__).parents[3] / 'data/VOCdevkit/VOC2012'
CASES = [
    dict(gaussian=dict(sxy=1, compat=1), bilateral=dict(sxy=6, srgb=20, compat=1), num_iter=4),
    dict(gaussian=dict(sxy=4, compat=3), bilateral=dict(sxy=83, srgb=5, compat=3), num_iter=10),
    dict(gaussian=dict(sxy=2, compat=0), bilateral=dict(sxy=3, srgb=30, compat=10), num_iter=2),
]


def scene(height=9, width=11, classes=3):
    """Two coloured areas under noise, and scores that are right more often than not; images of whole colour steps."""
    ground_truth = (torch.arange(width) > width // 2).long().expand(height, width)
    colours = torch.tensor([[200.0, 40.0, 90.0], [150.0, 80.0, 60.0]])[ground_truth].permute(2, 0, 1)
    image = (colours + 12 * torch.randn(3, height, width)).round().clamp(0, 255) / 255
    scores = torch.rand(classes, height, width)
    scores[0] += 0.5 * (ground_truth == 0)
    scores[1] += 0.5 * (ground_truth == 1)
    return image[None], (scores / scores.sum(dim=0))[None]


def loop_over_pairs(image, scores, gaussian, bilateral, num_iter):
    """The formula, one pair of pixels after the other, in Python's float64."""
    classes, height, width = scores.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    colour = {p: [round(255 * image[c][p].item()) for c in range(3)] for p in pixels}

    def place(p, q, sxy):
        return ((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) / sxy**2

    def kernel(sxy, srgb=None):
        rows = {}
        for p in pixels:
            for q in pixels:
                exponent = place(p, q, sxy)
                if srgb:
                    exponent += sum((a - b) ** 2 for a, b in zip(colour[p], colour[q], strict=True)) / srgb**2
                rows[p, q] = math.exp(-exponent / 2)
        degree = {p: sum(rows[p, q] for q in pixels) for p in pixels}
        return {(p, q): value / math.sqrt(degree[p] * degree[q]) for (p, q), value in rows.items()}

    kernels = [
        (gaussian['compat'], kernel(gaussian['sxy'])),
        (bilateral['compat'], kernel(bilateral['sxy'], bilateral['srgb'])),
    ]
    start = {p: [scores[k][p].item() for k in range(classes)] for p in pixels}
    current = start
    for _ in range(num_iter):
        following = {}
        for p in pixels:
            message = [
                sum(w * sum(rows[p, q] * current[q][k] for q in pixels) for w, rows in kernels) for k in range(classes)
            ]
            weight = [s * math.exp(m) for s, m in zip(start[p], message, strict=True)]
            following[p] = [w / sum(weight) for w in weight]
        current = following
    return torch.tensor([[[current[y, x][k] for x in range(width)] for y in range(height)] for k in range(classes)])


@pytest.mark.parametrize('case', CASES, ids=['mild', 'weaktr', 'strong'])
def test_the_formula_pair_by_pair(case):
    image, scores = scene(height=6, width=8)
    found = MODELS.build(dict(type='ExactCRF', **case))(image, scores)[0]
    expected = loop_over_pairs(image[0], scores[0].double(), **case)
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=2e-5)
    assert (found - scores[0]).abs().max() > 0.05, 'it changes something'


def test_half_precision_is_enough(monkeypatch):
    """What a GPU computes with, here on the CPU."""
    image, scores = scene(height=14, width=17)
    crf = MODELS.build(dict(type='ExactCRF'))
    whole = crf(image, scores)

    monkeypatch.setattr(exact_crf, 'exact_bilateral_sum', partial(exact_bilateral_sum, half=True))
    half = crf(image, scores)
    assert 0 < (half - whole).abs().max() < 1e-2
    assert torch.equal(half.argmax(1), whole.argmax(1))


def test_one_warning_says_what_a_cpu_costs():
    image, scores = scene()
    crf = MODELS.build(dict(type='ExactCRF', num_iter=1))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter('default')
        for _ in range(2):
            crf(image, scores)
    assert ['50 times as long as DenseCRF' in str(warning.message) for warning in shown] == [True]


@pytest.mark.parametrize('sigma', [0.7, 3])
def test_gaussian_sum_is_the_sum_over_pairs(sigma):
    values = torch.rand(7 * 30, 2, dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(30.0), indexing='ij')
    place = torch.stack((y, x), dim=-1).flatten(0, 1).double()
    expected = torch.exp(torch.cdist(place, place) ** 2 / (-2 * sigma**2)) @ values
    torch.testing.assert_close(gaussian_sum(sigma, (7, 30))(values), expected, rtol=0, atol=1e-6)


def test_absent_classes_stay_zero_and_change_nothing():
    image, scores = scene(classes=2)
    padded = torch.zeros(1, 5, 9, 11)
    padded[:, [1, 3]] = scores
    crf = MODELS.build(dict(type='ExactCRF', num_iter=3))
    refined = crf(image, padded)
    assert refined[:, [0, 2, 4]].abs().max() == 0
    torch.testing.assert_close(refined[:, [1, 3]], crf(image, scores))


def test_several_maps_and_images_are_refined_as_if_alone():
    (first, one), (second, two) = scene(), scene()
    crf = MODELS.build(dict(type='ExactCRF', num_iter=3))
    together = crf(torch.cat((first, second)), torch.cat((one, two, two.flip(1), one.flip(1))))
    alone = [crf(first, one), crf(second, two), crf(first, two.flip(1)), crf(second, one.flip(1))]
    torch.testing.assert_close(together, torch.cat(alone))


def test_autocast_changes_nothing():
    image, scores = scene()
    crf = MODELS.build(dict(type='ExactCRF', num_iter=3))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under = crf(image, scores)
    torch.testing.assert_close(under, crf(image, scores), rtol=0, atol=0)


@pytest.mark.parametrize('preset', ['toco', 'weaktr-voc'])
def test_agrees_with_pydensecrf(preset):
    """Its lattice is an approximation: labels differ at less than one pixel in a hundred, where hundreds change."""
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    photos = sorted((VOC / 'SegmentationClassAug').glob('*.png'))[:1]
    if photos:
        size = (84, 64)
        image = np.array(Image.open(VOC / 'JPEGImages' / f'{photos[0].stem}.jpg').convert('RGB').resize(size))
        ground_truth = torch.from_numpy(np.array(Image.open(photos[0]).resize(size, Image.NEAREST))).long()
        image = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        present = ground_truth.unique()[ground_truth.unique() < 255]
        scores = torch.stack([(ground_truth == k).float() for k in present])[None] + 0.05
    else:
        image, scores = scene(64, 84, classes=2)
    soft = torch.nn.functional.avg_pool2d(scores, 15, stride=1, padding=7) + 0.8 * torch.rand_like(scores)
    soft = soft / soft.sum(dim=1, keepdim=True)
    exact, lattice = (
        MODELS.build(dict(type=kind, preset=preset))(image, soft)[0].argmax(0) for kind in ('ExactCRF', 'DenseCRF')
    )
    assert (exact == lattice).float().mean() > 0.99
    assert (exact != soft[0].argmax(0)).float().mean() > 0.03
