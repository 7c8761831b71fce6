"""Affinity between patches: slow loops from the formulas, hand-computed cases, invariants."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg_wsss.models.cam import balanced, component_boxes, feature_affinity, mean_patch_attention, spread

sys.path.insert(0, str(Path(__file__).parents[3] / 'benchmarks'))

from allocation_counter import AllocationCounter


def test_mean_attention_as_loops():
    heads, count, width, num_cls = 2, 5, 4, 2
    query, key = torch.randn(2, 3, heads, count, width, dtype=torch.float64)  # of 3 images
    expected = np.zeros((3, count - num_cls, count - num_cls))
    for image in range(3):
        for head in range(heads):
            for i in range(num_cls, count):
                row = np.exp([float(query[image, head, i] @ key[image, head, j]) / width**0.5 for j in range(count)])
                expected[image, i - num_cls] += (row / row.sum())[num_cls:] / heads
    found = mean_patch_attention(query, key, num_cls)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_under_autocast_it_is_as_without():
    query, key = torch.randn(2, 1, 2, 6, 4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found, features = mean_patch_attention(query, key, 1), feature_affinity(query[:, 0], 0.2)
    assert torch.equal(found, mean_patch_attention(query, key, 1))
    assert torch.equal(features, feature_affinity(query[:, 0], 0.2))


def test_feature_affinity_as_loops():
    features = np.random.default_rng(0).normal(size=(2, 4, 3))
    expected = np.zeros((2, 4, 4))
    for image, rows in enumerate(features):
        unit = [row / np.sqrt((row**2).sum()) for row in rows]
        for i in range(4):
            values = np.exp([unit[i] @ unit[j] / 0.2 for j in range(4)])
            expected[image, i] = values / values.sum()
    found = feature_affinity(torch.from_numpy(features), 0.2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize('rounds', [0, 1, 3])
def test_balanced_as_loops(rounds):
    given = np.random.default_rng(1).random((1, 4, 4))
    expected = given[0].copy()
    for _ in range(rounds):
        for j in range(4):
            expected[:, j] /= expected[:, j].sum()
        for i in range(4):
            expected[i] /= expected[i].sum()
    found = balanced(torch.from_numpy(given), rounds)[0].numpy()
    np.testing.assert_allclose(found, [[(expected[i, j] + expected[j, i]) / 2 for j in range(4)] for i in range(4)])


def test_many_rounds_make_rows_and_columns_sum_to_one():
    found = balanced(torch.rand(2, 6, 6), 50)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 6))
    assert torch.equal(found, found.mT)


def test_an_affinity_of_zeros_stays_finite():
    assert torch.equal(balanced(torch.zeros(1, 3, 3), 3), torch.zeros(1, 3, 3))


def test_boxes_of_components_by_hand():
    cam = torch.tensor(
        [
            [1.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.4, 0.0, 0.0, 0.0],  # touches the first at a corner, and is exactly at the threshold
            [0.0, 0.0, 0.0, 0.39, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.5],
        ]
    )
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[:2, :2] = True
    expected[3, 4] = True
    boxes = component_boxes(torch.stack((cam, torch.zeros(4, 5)))[None], 0.4)
    assert torch.equal(boxes[0, 0], expected)
    assert boxes[0, 1].all(), 'a constant map is one component'


def test_every_map_has_its_own_boxes():
    maps = torch.zeros(2, 2, 3, 3)
    for image in range(2):
        for k in range(2):
            maps[image, k, image, k] = 1 + k
    assert torch.equal(component_boxes(maps, 0.9), maps > 0)


@pytest.mark.parametrize(('power', 'box'), [(1, None), (2, None), (3, 0.4)])
def test_spread_as_loops(power, box):
    rng = np.random.default_rng(2)
    cam, affinity = rng.random((2, 3)), rng.random((6, 6))
    mask = np.ones(6) if box is None else component_boxes(torch.from_numpy(cam)[None, None], box).numpy().ravel()
    repeated = np.eye(6)
    for _ in range(power):
        repeated = repeated @ affinity
    mixed = [sum(repeated[i, j] * mask[j] * cam.ravel()[j] for j in range(6)) for i in range(6)]
    mixed = (np.array(mixed) - min(mixed)) / (max(mixed) - min(mixed))
    expected = cam.min() + (cam.max() - cam.min()) * mixed
    found = spread(torch.from_numpy(cam)[None, None], torch.from_numpy(affinity)[None], power=power, box_threshold=box)
    np.testing.assert_allclose(found.numpy().ravel(), expected, rtol=1e-6)


def test_constant_maps_and_ranges_stay():
    maps = torch.rand(2, 3, 4, 5)
    maps[:, 1] = 0.5
    maps[:, 2] = 0
    found = spread(maps, balanced(torch.rand(2, 20, 20), 3), power=2, box_threshold=0.4)
    assert torch.equal(found[:, 1:], maps[:, 1:])
    for pick in (torch.amin, torch.amax):
        torch.testing.assert_close(pick(found[:, 0], (-2, -1)), pick(maps[:, 0], (-2, -1)))
    assert not torch.allclose(found[:, 0], maps[:, 0], atol=0.01)


def test_an_affinity_of_nobody_else_changes_nothing():
    maps = torch.rand(1, 2, 3, 3)
    torch.testing.assert_close(spread(maps, torch.eye(9)[None], power=4), maps)


def test_memory_of_1400_patches():
    query, key = torch.randn(2, 1, 12, 1401, 64)
    with AllocationCounter() as counted:
        affinity = balanced(mean_patch_attention(query, key, 1), 3)
        spread(torch.rand(1, 5, 35, 40), affinity, power=2, box_threshold=0.4)
    assert counted.peak < 40e6, 'about four matrices'
    assert counted.largest < 1.05 * 4 * 1401**2
