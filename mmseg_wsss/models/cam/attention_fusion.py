"""Weighted sums over the attention maps of all heads of all blocks, without storing the maps.

WeakTr, https://arxiv.org/abs/2304.01184, Eq. 4 to 6. A fused map would be ``A = 1/(K H) sum_kh w_kh softmax(q_kh k_kh^T
/ sqrt(d))``, with n x n values per image and K H times as many in between. The CAM needs less: the rows of the class
tokens, and the product of the rows of the patches with a few channels. That product can be taken inside the sum, where
each term is an attention whose values are those channels, and PyTorch's fused kernels compute it in O(n) memory. The
loss needs even less: the spatial mean of that product, for which the mean of the patches' rows is enough. The results
are equal up to rounding.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Values of a softmax map per step: few enough for the caches of a CPU, enough to launch few kernels on a GPU.
_MAP_VALUES = {'cpu': 2**20}
_MAP_VALUES_ELSEWHERE = 2**22


def attention_map(query: Tensor, key: Tensor) -> Tensor:
    """Softmax map (B, H, m, n) of queries (B, H, m, d) over keys (B, H, n, d); its rows sum to 1."""
    return (query * query.shape[-1] ** -0.5 @ key.mT).softmax(dim=-1)


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


def received_attention(queries: Sequence[Tensor], keys: Sequence[Tensor], weights: Tensor, num_cls: int) -> Tensor:
    """What every patch receives from the fused patch-to-patch attention: the mean of its rows, ``1/N sum_m PA[m]``.

    The spatial mean of ``PA . CAM`` is the CAM weighted by it. No gradient reaches queries and keys.

    Args:
        queries, keys, weights, num_cls: as in :func:`class_attention`.

    Returns:
        (B, N).
    """
    means = [_mean_row(query[:, :, num_cls:], key) for query, key in zip(queries, keys, strict=True)]
    received = torch.stack(means, dim=1)[..., num_cls:].to(weights.dtype)  # (B, K, H, N)
    return torch.einsum('bkh,bkhn->bn', weights, received) / weights[0].numel()


@torch.no_grad()
def _mean_row(query: Tensor, key: Tensor) -> Tensor:
    """Mean over the rows of the float32 softmax map of queries (B, H, m, d) and keys (B, H, n, d): (B, H, n)."""
    heads, rows, columns = query.shape[1], query.shape[2], key.shape[2]
    limit = _MAP_VALUES.get(query.device.type, _MAP_VALUES_ELSEWHERE)
    images = max(1, limit // (heads * rows * columns))
    rows_at_once = max(1, limit // (heads * columns))
    sums = []
    for queries, keys in zip(query.split(images), key.split(images), strict=True):
        keys = keys.float()
        parts = (attention_map(part.float(), keys).sum(dim=2) for part in queries.split(rows_at_once, dim=2))
        sums.append(sum(parts))
    return torch.cat(sums) / rows


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
    # The keys of the class tokens take part in the softmax but contribute nothing: their values are zero.
    values = F.pad(cam.mT, (0, -cam.shape[1] % width, num_cls, 0))  # (B, n, C rounded up to a multiple of d)
    spread = 0
    for query, key, weight in zip(queries, keys, weights.unbind(1), strict=True):
        patches = query[:, :, num_cls:]
        # Fused kernels need values as wide as queries.
        parts = [
            F.scaled_dot_product_attention(patches, key, part[:, None].expand(-1, key.shape[1], -1, -1).to(key.dtype))
            for part in values.split(width, dim=-1)
        ]  # each (B, H, N, d)
        spread = spread + torch.einsum('bh,bhnc->bnc', weight, torch.cat(parts, dim=-1).to(weight.dtype))
    return spread[..., : cam.shape[1]].mT / weights[0].numel()
