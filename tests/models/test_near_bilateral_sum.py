"""NearBilateralSum: all pairs in float64, the bound on what is left out, and that something is left out."""

import math

import pytest
import torch

from mmseg_wsss.models import near_bilateral_sum
from mmseg_wsss.models.bilateral_sum import bilateral_features
from mmseg_wsss.models.near_bilateral_sum import REACH, NearBilateralSum, _halved


def photo(height: int, width: int) -> torch.Tensor:
    """Features (n, 5) of three coloured areas under noise."""
    area = torch.randn(1, 3, 3, 4)
    area = torch.nn.functional.interpolate(area, size=(height, width), mode='bilinear')[0].argmax(dim=0)
    image = torch.tensor([[0.1, 0.5, 0.9], [0.4, 0.3, 0.8], [0.5, 0.9, 0.2]])[area].permute(2, 0, 1)
    return bilateral_features((image + 0.02 * torch.randn(image.shape))[None], sigma_rgb=5, sigma_xy=40)[0]


@pytest.mark.parametrize('size', [(5, 7), (31, 37), (48, 64)])
def test_the_sum_over_all_pairs_within_the_bound(size):
    features, values = photo(*size).double(), torch.rand(size[0] * size[1], 3, dtype=torch.float64)
    distance = torch.cdist(features, features, compute_mode='donot_use_mm_for_euclid_dist')
    expected = torch.exp(distance**2 / -2) @ values
    found = NearBilateralSum(features)(values)
    error = (found - expected).abs()
    assert (error <= math.exp(-(REACH**2) / 2) * values.sum(dim=0) + 1e-12 * expected).all()
    assert (error / expected).max() < 1e-4


def test_far_blocks_are_left_out():
    sums = NearBilateralSum(photo(60, 80))
    pairs = sum(len(near) for near in sums.near)
    assert pairs == round(sums.share * sums.blocks**2)
    assert sums.share < 0.6
    assert all(index in near for index, near in enumerate(sums.near)), 'a block is near itself'


def test_the_same_blocks_serve_many_values():
    sums, one, two = NearBilateralSum(photo(20, 30)), torch.rand(600, 2), torch.rand(600, 9)
    torch.testing.assert_close(sums(torch.cat((one, two), dim=1)), torch.cat((sums(one), sums(two)), dim=1))


def test_halved_puts_likes_together():
    features = torch.tensor(
        [[0.0, 5.0], [9.0, 5.1], [0.1, 5.0], [9.1, 6.0], [9.2, 5.0], [0.2, 5.2], [9.0, 5.9], [0.3, 5.3]]
    )
    order = _halved(features, 2).view(4, 2)
    assert [set(pair.tolist()) for pair in order[:2]] == [{0, 2}, {5, 7}]  # left half, by the first feature again
    assert [set(pair.tolist()) for pair in order[2:]] == [{1, 4}, {3, 6}]  # right half, by the second


def test_a_count_that_no_power_of_two_divides(monkeypatch):
    monkeypatch.setattr(near_bilateral_sum, 'BLOCK', 4)
    features = torch.randn(13, 5)
    sums = NearBilateralSum(features)
    assert (sums.blocks, len(sums.order)) == (4, 16)
    expected = torch.exp(torch.cdist(features, features) ** 2 / -2).sum(dim=1, keepdim=True)
    torch.testing.assert_close(sums(torch.ones(13, 1)), expected, rtol=1e-4, atol=1e-4)
