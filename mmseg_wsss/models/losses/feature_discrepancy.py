"""Two students stay different: their features are pushed apart (DuPL, https://arxiv.org/abs/2403.11184)."""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


def feature_discrepancy(first: Tensor, second: Tensor, *, as_published: bool = False) -> Tensor:
    """Each student is pushed away from the other one, which is a constant for it: ``1 + cos`` once per student.

    Both terms have the same value and each has the gradient of one student, so their sum is computed as ``1 + cos``
    with both gradients plus ``1 + cos`` without.

    Args:
        first, second: feature maps of the two students (B, D, h, w).
        as_published: take the cosine over the positions, one per channel, as the published code does, instead of over
            the channels, one per position.

    Returns:
        scalar in [0, 4], the mean over images and positions (or channels).
    """
    # float32: long sums of squares
    maps = (first.float().flatten(2), second.float().flatten(2))  # each (B, D, h * w)
    distance = 1 + F.cosine_similarity(*maps, dim=2 if as_published else 1, eps=1e-6).mean()
    return distance + distance.detach()


@MODELS.register_module()
class FeatureDiscrepancyLoss(nn.Module):
    """:func:`feature_discrepancy` with a weight (published: 0.1 on VOC, 0.05 on COCO)."""

    def __init__(self, *, loss_weight: float = 0.1, as_published: bool = False) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.as_published = as_published

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Weighted loss; arguments as in :func:`feature_discrepancy`."""
        return self.loss_weight * feature_discrepancy(first, second, as_published=self.as_published)
