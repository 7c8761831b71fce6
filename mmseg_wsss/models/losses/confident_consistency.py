"""Consistency of a weak and a strong view where there is no label (DuPL, https://arxiv.org/abs/2403.11184)."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .reduction import mean_of_counted


def confident_consistency(weak: Tensor, strong: Tensor, unlabelled: Tensor, *, confidence: float = 0.9) -> Tensor:
    """Where a pixel has no label, the sure class of the weak view teaches the strong view.

    Args:
        weak: logits (B, K, H, W) of the weak view; no gradient flows into them.
        strong: logits (B, K, H, W) of the strong view at the same pixels.
        unlabelled: bool (B, H, W), the pixels that are not supervised otherwise.
        confidence: a pixel counts if the probability of its class in the weak view is larger.

    Returns:
        scalar: mean cross-entropy over those pixels; 0 where there are none.
    """
    probability, target = weak.detach().float().softmax(dim=1).max(dim=1)
    counted = unlabelled & (probability > confidence)
    per_pixel = F.cross_entropy(strong.float(), target, reduction='none')
    return mean_of_counted(torch.where(counted, per_pixel, 0).sum(), counted.sum())


@MODELS.register_module()
class ConfidentConsistencyLoss(nn.Module):
    """:func:`confident_consistency` with a weight (published: 0.05).

    Raises:
        ValueError: the confidence is not in [0, 1).
    """

    def __init__(self, *, confidence: float = 0.9, loss_weight: float = 0.05) -> None:
        super().__init__()
        if not 0 <= confidence < 1:
            raise ValueError(f'confidence must be in [0, 1), got {confidence}')
        self.confidence = confidence
        self.loss_weight = loss_weight

    def forward(self, weak: Tensor, strong: Tensor, unlabelled: Tensor) -> Tensor:
        """Weighted loss; arguments as in :func:`confident_consistency`."""
        return self.loss_weight * confident_consistency(weak, strong, unlabelled, confidence=self.confidence)
