"""Cross-entropy in which background and foreground weigh the same."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .reduction import mean_of_counted


def balanced_cross_entropy(
    logits: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = 255
) -> Tensor:
    """Mean over background pixels and mean over foreground pixels, averaged.

    L_seg of ToCo, https://arxiv.org/abs/2303.01267, section 4.4.

    Args:
        logits: (B, K, H, W).
        label: long (B, H, W); 0 is background.
        weight: optional pixel weights (B, H, W).
        ignore_index: label of pixels that are in neither mean.

    Returns:
        scalar; a side without pixels contributes 0 (never NaN).
    """
    per_pixel = F.cross_entropy(logits.float(), label, ignore_index=ignore_index, reduction='none')
    if weight is not None:
        per_pixel = per_pixel * weight
    background = label == 0
    foreground = ~background & (label != ignore_index)
    sides = (background, foreground)
    return 0.5 * sum(mean_of_counted(torch.where(side, per_pixel, 0).sum(), side.sum()) for side in sides)


@MODELS.register_module()
class BalancedCrossEntropyLoss(nn.Module):
    """:func:`balanced_cross_entropy` for every mmseg decode head (published weight: 0.1)."""

    def __init__(self, *, loss_weight: float = 1.0, loss_name: str = 'loss_seg') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self, logits: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = 255, **kwargs
    ) -> Tensor:
        """Weighted loss; arguments as in :func:`balanced_cross_entropy`."""
        return self.loss_weight * balanced_cross_entropy(logits, label, weight, ignore_index)
