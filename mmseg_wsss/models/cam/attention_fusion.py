"""Weighted sums over the attention maps of all heads of all blocks, without ever holding the maps.

A fused map would be ``A = 1/(K H) sum_kh w_kh softmax(q_kh k_kh^T / sqrt(d))``, n x n values per image and, on the way,
K H times as many. What the CAM needs of it is less: the rows of the class tokens, and the product of the rows of the
patches with a few channels. That product moves inside the sum, where each term is an attention whose values are those
channels, and PyTorch's fused kernels compute it in O(n) memory. The result is the same up to rounding.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def attention_map(query: Tensor, key: Tensor) -> Tensor:
    """Softmax map (B, H, m, n) of queries (B, H, m, d) over keys (B, H, n, d); its rows sum to 1."""
    return (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)


def class_attention(queries: Sequence[Tensor], keys: Sequence[Tensor], weights: Tensor, num_cls: int) -> Tensor:
    """Fused attention of the class tokens to the patches (WeakTr Eq. 4).

    Args:
        queries, keys: of K blocks, each (B, H, n, d) with the class tokens first.
        weights: one per head, (B, K, H).
        num_cls: number of class tokens T.

    Returns:
        (B, T, n - T), the mean over the K H heads of the weighted maps.
    """
    fused = 0
    for query, key, weight in zip(queries, keys, weights.unbind(1), strict=True):
        rows = attention_map(query[:, :, :num_cls].to(weight.dtype), key.to(weight.dtype))  # (B, H, T, n)
        fused = fused + torch.einsum('bh,bhtn->btn', weight, rows[..., num_cls:])
    return fused / weights[0].numel()


def spread_by_patch_attention(
    cam: Tensor, queries: Sequence[Tensor], keys: Sequence[Tensor], weights: Tensor, num_cls: int
) -> Tensor:
    """Fused patch-to-patch attention times a CAM: ``PA . CAM`` (WeakTr Eq. 5 and 6).

    Args:
        cam: (B, C, N), channels to be spread over the N = n - T patches.
        queries, keys, weights, num_cls: as in :func:`class_attention`.

    Returns:
        (B, C, N).
    """
    width = queries[0].shape[-1]
    # The keys of the class tokens take their share of the softmax and carry nothing: their values are zero.
    values = F.pad(cam.mT, (0, -cam.shape[1] % width, num_cls, 0))  # (B, n, C rounded up to a multiple of d)
    spread = 0
    for query, key, weight in zip(queries, keys, weights.unbind(1), strict=True):
        patches = query[:, :, num_cls:]
        # Fused kernels want values as wide as queries.
        parts = [
            F.scaled_dot_product_attention(patches, key, part[:, None].expand(-1, key.shape[1], -1, -1).to(key.dtype))
            for part in values.split(width, dim=-1)
        ]  # each (B, H, N, d)
        spread = spread + torch.einsum('bh,bhnc->bnc', weight, torch.cat(parts, dim=-1).to(weight.dtype))
    return spread[..., : cam.shape[1]].mT / weights[0].numel()
