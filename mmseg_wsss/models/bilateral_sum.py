"""Sums over all pixels, weighted by similarity in position and colour, without a matrix of pixel pairs.

``sum_j exp(-|f_i - f_j|^2 / 2) v_j`` is softmax attention without its division: the exponent is the scalar product of
``[f_i, -|f_i|^2 / 2, 1]`` and ``[f_j, 1, -|f_j|^2 / 2]``. One additional key of score 0 with a value channel of its own
gives the divisor of the softmax. PyTorch's fused attention therefore computes the sum on CPU and GPU with memory linear
in the number of pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# Value of the extra key: softmax returns 1024 / (1 + row sum), which float16 can hold for sums up to 10^7.
EXTRA_VALUE = 1024.0
# Without either kernel, attention would build the matrix of all pairs: 10 GB for one image of 224 x 224.
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
FIRST_CELL = (0.4, 0.4, 0.8, 0.8, 0.8)  # in standard deviations; colours may be coarser than positions
CELL_GROWTH = 1.1


def bilateral_features(images: Tensor, *, sigma_rgb: float, sigma_xy: float) -> Tensor:
    """Position and colour of every pixel in units of their standard deviations.

    Args:
        images: (B, 3, h, w) in [0, 1].
        sigma_rgb: of colours in 0..255.
        sigma_xy: in pixels of ``images``.

    Returns:
        (B, h * w, 5), centred per image, since only differences count and small numbers are more exact.
    """
    height, width = images.shape[-2:]
    y, x = (torch.arange(side, dtype=images.dtype, device=images.device) for side in (height, width))
    position = torch.stack(torch.meshgrid(x, y, indexing='xy')).flatten(1).expand(len(images), -1, -1) / sigma_xy
    features = torch.cat((position, images.flatten(2) * (255 / sigma_rgb)), dim=1).mT
    return features - features.mean(dim=1, keepdim=True)


@torch.no_grad()
def exact_bilateral_sum(features: Tensor, values: Tensor, *, half: bool | None = None) -> Tensor:
    """``sum_j exp(-|f_i - f_j|^2 / 2) v_j`` over all pixels j of an image; time O(n^2), memory O(n).

    Args:
        features: centred (B, n, D).
        values: (B, n, K) in [0, 1].
        half: tensor-core arithmetic in float16 (default: on a GPU only). Every feature is a sum of two float16
            numbers, so scores are as good as float32; the weights and values are rounded to 11 bits.

    Returns:
        (B, n, K) in the type of ``values``; no gradient.
    """
    if half is None:
        half = features.is_cuda
    with torch.autocast(features.device.type, enabled=False):
        query, key = _half_scores(features) if half else _scores(features)
        return _exp_weighted_sum(query, key, values.to(query)).to(values)


@torch.no_grad()
def grouped_bilateral_sum(features: Tensor, values: Tensor, *, max_groups: int = 2048) -> Tensor:
    """Approximate :func:`exact_bilateral_sum` with groups of similar pixels instead of pixels; time O(n * groups).

    A group is the pixels of one cell of a grid in feature space, the finest grid with few enough occupied cells. It
    acts as a Gaussian with the mean and covariance of its pixels, weighted by the sum of their values. Pixels whose
    values are all zero (padding) are left out. Time and error on photos: ``docs/performance.md``.

    Args:
        features: centred (B, n, D).
        values: (B, n, K) in [0, 1].
        max_groups: more groups are slower and more exact.

    Returns:
        (B, n, K) in the type of ``values``; no gradient.
    """
    sums = torch.zeros_like(values)
    with torch.autocast(features.device.type, enabled=False):
        for feature, value, out in zip(features, values, sums, strict=True):
            counts = value.any(dim=1)
            if counts.any():
                key, mass = _groups(feature[counts], value[counts], max_groups)
                out.copy_(_exp_weighted_sum(_monomials(feature)[None], key[None], mass[None])[0])
    return sums


def _exp_weighted_sum(query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    """``sum_j exp(query_i . key_j) values_j`` for scores that are never far above 0.

    Args:
        query, key: (B, n, c) and (B, m, c).
        values: (B, m, K).
    """
    width = max(query.shape[-1], values.shape[-1] + 1)
    width += -width % 8  # the fused kernels want one width for all three, float16 a multiple of 8
    query, key, padded = (F.pad(x, (0, width - x.shape[-1]))[:, None] for x in (query, key, values))
    key, padded = F.pad(key, (0, 0, 0, 1)), F.pad(padded, (0, 0, 0, 1))  # the key of zeros has score 0: weight 1
    padded[..., -1, -1].fill_(EXTRA_VALUE)
    with sdpa_kernel(FUSED):
        means = F.scaled_dot_product_attention(query, key, padded, scale=1.0)[:, 0]
    means = means.to(torch.promote_types(means.dtype, torch.float32))
    return means[..., : values.shape[-1]] * (EXTRA_VALUE / means[..., -1:])


def _scores(features: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys whose scalar product is -|f_i - f_j|^2 / 2."""
    norm = features.square().sum(dim=-1, keepdim=True) / -2
    one = torch.ones_like(norm)
    return torch.cat((features, norm, one), dim=-1), torch.cat((features, one, norm), dim=-1)


def _half_scores(features: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`_scores` in float16, each number as the sum of two; the product of two small parts is left out."""
    high, low = _split(features)
    norm = (high.float() + low.float()).square().sum(dim=-1, keepdim=True) / -2
    norms = torch.cat(_split(norm), dim=-1)
    ones = torch.ones_like(norms)
    return torch.cat((high, high, low, norms, ones), dim=-1), torch.cat((high, low, high, ones, norms), dim=-1)


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    high = x.half()
    return high, (x - high).half()


def _groups(features: Tensor, values: Tensor, max_groups: int) -> tuple[Tensor, Tensor]:
    """Keys (m, c) for queries from :func:`_monomials`, and the values (m, K) they carry.

    The mean of exp(-|x - f_j|^2 / 2) over Gaussian f_j with mean u and covariance C is
    exp(-(x - u)^T P (x - u) / 2) sqrt(det P) with P = (1 + C)^-1.
    """
    index = _cells(features, max_groups)
    count = int(index.max()) + 1

    def sums(x: Tensor) -> Tensor:
        return x.new_zeros(count, x.shape[1]).index_add_(0, index, x)

    size = sums(torch.ones_like(features[:, :1]))
    mean = sums(features) / size
    offset = features - mean[index]
    covariance = sums((offset[:, :, None] * offset[:, None, :]).flatten(1)) / size
    spread = covariance.unflatten(1, (-1, features.shape[1])) + torch.eye(features.shape[1]).to(features)
    factor = torch.linalg.cholesky(spread)
    precision = torch.cholesky_inverse(factor)
    linear = (precision @ mean[:, :, None])[:, :, 0]
    log_height = -factor.diagonal(dim1=1, dim2=2).log().sum(dim=1, keepdim=True)
    constant = log_height - (linear * mean).sum(dim=1, keepdim=True) / 2
    return torch.cat((precision.flatten(1) / -2, linear, constant), dim=1), sums(values)


def _monomials(x: Tensor) -> Tensor:
    """All products of two coordinates, the coordinates, and 1: (n, D * D + D + 1)."""
    return torch.cat(((x[:, :, None] * x[:, None, :]).flatten(1), x, torch.ones_like(x[:, :1])), dim=1)


def _cells(features: Tensor, max_groups: int) -> Tensor:
    """Cell of every pixel, numbered from 0, in the finest grid with at most ``max_groups`` occupied cells."""
    features = features - features.amin(dim=0)
    side = features.new_tensor(FIRST_CELL)
    while True:
        grid = (features / side).long()
        code = grid[:, 0]
        for axis in grid.unbind(1)[1:]:
            code = code * (axis.max() + 1) + axis
        occupied, index = code.unique(return_inverse=True)
        if len(occupied) <= max_groups:
            return index
        side = side * CELL_GROWTH
