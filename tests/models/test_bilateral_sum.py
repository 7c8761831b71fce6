import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_wsss.models.bilateral_sum import (
    _cells,
    _exp_weighted_sum,
    _half_scores,
    _scores,
    bilateral_features,
    exact_bilateral_sum,
    grouped_bilateral_sum,
)

SIZE = (36, 44)


def scenes() -> torch.Tensor:
    """A drawn scene, the same under noise, noise alone, and one grey: (4, 3, h, w) in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE[0]), torch.linspace(0, 1, SIZE[1]), indexing='ij')
    drawn = torch.stack((0.2 + 0.3 * x, 0.5 + 0.1 * y, 0.6 - 0.2 * x * y))
    drawn = torch.where((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.08, torch.tensor([0.8, 0.3, 0.1])[:, None, None], drawn)
    noise = torch.rand(3, *SIZE)
    return torch.stack((drawn, (drawn + 0.1 * (noise - 0.5)).clamp(0, 1), noise, torch.full_like(drawn, 0.5)))


def example(classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (4, n, 5) and probabilities (4, n, classes)."""
    features = bilateral_features(scenes(), sigma_rgb=15, sigma_xy=10)
    return features, (2 * torch.randn(4, SIZE[0] * SIZE[1], classes)).softmax(dim=-1)


def pair_by_pair(features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    features = features.double()
    distance = torch.cdist(features, features, compute_mode='donot_use_mm_for_euclid_dist')
    return torch.exp(distance**2 / -2) @ values.double()


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest error of an image: norm of the difference by norm of the exact sum."""
    return ((found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).max().item()


def test_features_are_position_and_colour_in_standard_deviations():
    images = torch.rand(2, 3, 4, 6)
    grid = bilateral_features(images, sigma_rgb=15, sigma_xy=2).unflatten(1, (4, 6))
    colour = (images[1, :, 3, 5] - images[1, :, 1, 2]) * 255 / 15
    expected = torch.cat((torch.tensor([3 / 2, 2 / 2]), colour))
    torch.testing.assert_close(grid[1, 3, 5] - grid[1, 1, 2], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(grid.mean(dim=(1, 2)), torch.zeros(2, 5), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('dtype', 'half', 'tolerance'), [(torch.float64, False, 1e-12), (torch.float32, False, 1e-5), (None, True, 1e-3)]
)
def test_the_fused_sum_is_the_sum_over_pairs(dtype, half, tolerance):
    features, values = example()
    dtype = dtype or torch.float32
    found = exact_bilateral_sum(features.to(dtype), values.to(dtype), half=half)
    exact = pair_by_pair(features, values)
    assert found.dtype == dtype
    assert relative(found, exact) < tolerance
    # no pixel is far off either, including one without similar pixels
    assert ((found - exact).abs().amax(dim=2) / exact.amax(dim=2)).max() < 3 * tolerance


def test_half_precision_holds_at_the_extent_of_a_real_image():
    """Colours from black to white, 17 standard deviations, and 50,000 pixels equal to one."""
    features = torch.linspace(-8.5, 8.5, 301)[:, None].expand(-1, 5).contiguous()
    values = torch.rand(301, 21)
    found = exact_bilateral_sum(features[None], values[None], half=True)
    assert relative(found, pair_by_pair(features[None], values[None])) < 1e-3
    query, key = _half_scores(torch.zeros(1, 50_000, 5))
    same = _exp_weighted_sum(query[:, :3], key, torch.full((1, 50_000, 1), 0.25).half())
    torch.testing.assert_close(same[0, :, 0], torch.full((3,), 12_500.0), rtol=1e-3, atol=0)


def test_autocast_changes_nothing():
    features, values = example()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        exact, grouped = exact_bilateral_sum(features, values), grouped_bilateral_sum(features, values)
    torch.testing.assert_close(exact, exact_bilateral_sum(features, values), rtol=0, atol=0)
    torch.testing.assert_close(grouped, grouped_bilateral_sum(features, values), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('groups', 'limits'),
    [(200, (0.02, 0.04, 0.8, 0.01)), (800, (0.01, 0.02, 0.5, 0.01)), (1600, (0.01, 0.01, 1e-3, 0.01))],
)
def test_groups_come_close(groups, limits):
    """In noise no pixel has similar ones to share a group with, so fewer groups than pixels are far off."""
    features, values = example()
    found, exact = grouped_bilateral_sum(features, values, max_groups=groups), pair_by_pair(features, values)
    for image, limit in enumerate(limits):
        assert relative(found[image, None], exact[image, None]) < limit, image


def test_groups_of_equal_pixels_are_exact():
    points = torch.randn(1, 9, 5) * 3
    features = points.repeat(1, 30, 1)
    values = torch.rand(1, 270, 3)
    found = grouped_bilateral_sum(features, values, max_groups=9)
    torch.testing.assert_close(found.double(), pair_by_pair(features, values), rtol=1e-5, atol=1e-5)


def test_a_group_acts_as_a_gaussian_of_its_mean_and_covariance():
    """One group of many normal points: its sum at x is known in closed form."""
    points = torch.randn(1, 5_000, 5, dtype=torch.float64) * 0.5
    points = torch.cat((points, -points), dim=1)  # mean 0
    found = grouped_bilateral_sum(points, torch.ones_like(points[:, :, :1]), max_groups=1)
    covariance = points[0].T @ points[0] / points.shape[1]
    spread = covariance + torch.eye(5)
    at = points[0, :5]
    expected = torch.exp(-(at @ torch.linalg.inv(spread) * at).sum(1) / 2) / spread.det().sqrt() * points.shape[1]
    torch.testing.assert_close(found[0, :5, 0], expected, rtol=1e-9, atol=0)
    assert (expected / points.shape[1]).min() > 0.01  # all this is not about zeros


def test_pixels_without_values_do_not_shape_the_groups():
    features, values = example()
    padded_features = torch.cat((features + 0.3, features), dim=1)
    padded_values = torch.cat((torch.zeros_like(values), values), dim=1)
    found = grouped_bilateral_sum(padded_features, padded_values, max_groups=300)[:, features.shape[1] :]
    torch.testing.assert_close(found, grouped_bilateral_sum(features, values, max_groups=300), rtol=1e-4, atol=1e-4)
    assert not grouped_bilateral_sum(features, torch.zeros_like(values)).any()


@pytest.mark.parametrize('limit', [1, 50, 500])
def test_no_more_groups_than_allowed(limit):
    index = _cells(example()[0][2], limit)
    assert limit / 3 < int(index.max()) + 1 <= limit
    assert len(index.unique()) == int(index.max()) + 1


def test_a_far_pixel_keeps_itself_alone():
    features = torch.tensor([[[0.0] * 5, [0.0] * 5, [0.0] * 4 + [40.0]]])
    features = features - features.mean(dim=1, keepdim=True)
    values = torch.tensor([[[0.25], [0.5], [1.0]]])
    torch.testing.assert_close(exact_bilateral_sum(features, values)[0, :, 0], torch.tensor([0.75, 0.75, 1.0]))
    query, key = _scores(features)
    assert _exp_weighted_sum(query[:, 2:], key[:, :2], values[:, :2]).item() == pytest.approx(0, abs=math.exp(-700))


class LargestTensor(TorchDispatchMode):
    """Number of elements of the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.largest = max([self.largest, *sizes])
        return out


@pytest.mark.parametrize('method', [exact_bilateral_sum, grouped_bilateral_sum])
def test_no_matrix_of_pairs_is_ever_made(method):
    features, values = example()
    with LargestTensor() as seen:
        method(features, values)
    pixels = features.shape[0] * features.shape[1]
    assert pixels <= seen.largest < 40 * pixels  # all pairs would be 1584 each
