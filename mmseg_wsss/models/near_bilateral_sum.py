"""The exact bilateral sum of one image for many values, on a CPU without the pairs of pixels that are far apart."""

from collections.abc import Callable
from math import ceil, log2

import torch
import torch.nn.functional as F
from torch import Tensor

from .bilateral_sum import _exp_weighted_sum, _scores, exact_bilateral_sum

REACH = 5.0  # in standard deviations; a pair further apart would weigh less than exp(-REACH^2 / 2) = 4e-6
BLOCK = 128  # most pixels per block: smaller ones leave out more pairs, larger ones keep the arithmetic busy


def repeated_bilateral_sum(features: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that gives ``sum_j exp(-|f_i - f_j|^2 / 2) v_j`` (n, K) for the values (n, K).

    Args:
        features: centred (n, D) of one image, as :func:`bilateral_features` gives them.

    Returns:
        On a CPU a :class:`NearBilateralSum`; elsewhere the sum over all pairs, which fused attention is quick at.
    """
    if features.device.type == 'cpu':
        return NearBilateralSum(features)
    return lambda values: exact_bilateral_sum(features[None], values[None])[0]


class NearBilateralSum:
    """``sum_j exp(-|f_i - f_j|^2 / 2) v_j`` over the pixels j that are not far from i.

    The pixels are halved at the median of their widest feature, again and again, into blocks of pixels that are alike.
    Two blocks meet where their bounding boxes are less than ``REACH`` apart, so a weight that is left out is below
    ``exp(-REACH^2 / 2)``, and a sum is too small by less than that times the sum of all values. On photos with the
    widths of a dense CRF a fifth to a third of all pairs is left.

    Args:
        features: centred (n, D).
    """

    def __init__(self, features: Tensor) -> None:
        self.count = len(features)
        levels = max(0, ceil(log2(self.count / BLOCK)))
        self.blocks = 2**levels
        missing = -self.count % self.blocks
        features = torch.cat((features, features[-1:].expand(missing, -1)))  # their values will be 0
        self.order = _halved(features, levels)
        self.query, self.key = (x[self.order].unflatten(0, (self.blocks, -1)) for x in _scores(features))
        boxes = features[self.order].unflatten(0, (self.blocks, -1))
        low, high = boxes.amin(dim=1), boxes.amax(dim=1)
        self.near = []
        for own_low, own_high in zip(low, high, strict=True):
            gap = torch.maximum(own_low - high, low - own_high).clamp(min=0)
            self.near.append(torch.nonzero(gap.square().sum(dim=1) < REACH**2)[:, 0])

    @property
    def share(self) -> float:
        """The part of all pairs of blocks that are near, in (0, 1]."""
        return sum(map(len, self.near)) / self.blocks**2

    @torch.no_grad()
    def __call__(self, values: Tensor) -> Tensor:
        """The sums (n, K) of the values (n, K) >= 0; no gradient."""
        padded = F.pad(values, (0, 0, 0, len(self.order) - self.count))
        blocks = padded[self.order].unflatten(0, (self.blocks, -1))
        sums = torch.empty_like(padded)
        with torch.autocast(values.device.type, enabled=False):
            for query, near, places in zip(self.query, self.near, self.order.chunk(self.blocks), strict=True):
                keys, shares = self.key[near].flatten(0, 1), blocks[near].flatten(0, 1)
                sums[places] = _exp_weighted_sum(query[None], keys[None], shares[None])[0]
        return sums[: self.count]


def _halved(features: Tensor, levels: int) -> Tensor:
    """An order of the features (n, D), n a multiple of ``2**levels``, in which like ones are neighbours."""
    order = torch.arange(len(features), device=features.device)[None]
    for _ in range(levels):
        parts = features[order]  # (parts, m, D)
        widest = (parts.amax(dim=1) - parts.amin(dim=1)).argmax(dim=1)
        position = parts.gather(2, widest[:, None, None].expand(-1, parts.shape[1], 1))[..., 0]
        order = order.gather(1, position.argsort(dim=1)).reshape(2 * len(order), -1)
    return order.flatten()
