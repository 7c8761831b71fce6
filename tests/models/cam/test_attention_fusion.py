"""Sums over attention maps against the maps themselves."""

import pytest
import torch

from mmseg_wsss.models.cam import (
    attention_fusion,
    attention_map,
    class_attention,
    received_attention,
    spread_by_patch_attention,
)

B, K, H, T, N, D = 2, 3, 2, 4, 6, 8


@pytest.fixture
def heads():
    queries = [torch.randn(B, H, T + N, D) for _ in range(K)]
    keys = [torch.randn(B, H, T + N, D) for _ in range(K)]
    return queries, keys, torch.rand(B, K, H)


def fused(queries, keys, weights):
    """The naive way: all maps stacked, (B, K, H, n, n), weighted, averaged."""
    maps = torch.stack([attention_map(q, k) for q, k in zip(queries, keys, strict=True)], dim=1)
    return (maps * weights[..., None, None]).mean(dim=(1, 2))


def test_attention_map_by_hand():
    query = torch.tensor([[[[2.0, 0.0, 0.0, 0.0]]]])  # d = 4, so the scores are half the products
    key = torch.tensor([[[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]]])
    e = torch.tensor(1.0).exp()
    torch.testing.assert_close(attention_map(query, key)[0, 0, 0], torch.stack((e, torch.tensor(1.0))) / (e + 1))


def test_class_attention_is_the_class_rows_of_the_fused_map(heads):
    torch.testing.assert_close(class_attention(*heads, T), fused(*heads)[:, :T, T:])


@pytest.mark.parametrize('held', [1, N + T, 3 * H * (N + T), H * N * (N + T), 2**20], ids='{} values at a time'.format)
def test_received_attention_is_the_mean_patch_row_of_the_fused_map(heads, held, monkeypatch):
    monkeypatch.setitem(attention_fusion._MAP_VALUES, 'cpu', held)
    queries, keys, weights = heads
    weights.requires_grad_()
    ours = received_attention(queries, keys, weights, T)
    naive = fused(queries, keys, weights)[:, T:, T:].mean(dim=1)
    torch.testing.assert_close(ours, naive)
    towards = torch.randn_like(naive)
    (left,), (right,) = (torch.autograd.grad(mean, weights, towards) for mean in (ours, naive))
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize('classes', [1, 8, 11])  # fewer than, as many as and more than the width of a head
def test_spreading_is_the_patch_rows_of_the_fused_map_times_the_cam(heads, classes):
    cam = torch.rand(B, classes, N)
    expected = torch.einsum('bmn,bcn->bcm', fused(*heads)[:, T:, T:], cam)
    torch.testing.assert_close(spread_by_patch_attention(cam, *heads, T), expected)


def test_one_image_of_one_head_has_the_mean_over_the_blocks():
    queries, keys = ([torch.randn(1, 1, T + N, D) for _ in range(K)] for _ in range(2))
    heads, cam = (queries, keys, torch.rand(1, K, 1)), torch.rand(1, 5, N)
    whole = fused(*heads)
    torch.testing.assert_close(class_attention(*heads, T), whole[:, :T, T:])
    torch.testing.assert_close(received_attention(*heads, T), whole[:, T:, T:].mean(dim=1))
    expected = torch.einsum('bmn,bcn->bcm', whole[:, T:, T:], cam)
    torch.testing.assert_close(spread_by_patch_attention(cam, *heads, T), expected)


def test_gradients_are_those_of_the_naive_way(heads):
    queries, keys, weights = heads
    cam = torch.rand(B, 5, N).double().requires_grad_()
    queries, keys = ([x.double() for x in xs] for xs in (queries, keys))
    weights = weights.double().requires_grad_()
    ours = spread_by_patch_attention(cam, queries, keys, weights, T).square().sum()
    naive = torch.einsum('bmn,bcn->bcm', fused(queries, keys, weights)[:, T:, T:], cam).square().sum()
    for left, right in zip(
        torch.autograd.grad(ours, (cam, weights)), torch.autograd.grad(naive, (cam, weights)), strict=True
    ):
        torch.testing.assert_close(left, right)
