"""The classification loss for image-level labels, L_cls of ToCo and WeakTr."""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MultiLabelSoftMarginLoss(nn.Module):
    """PyTorch's ``multilabel_soft_margin_loss`` with a weight: the mean binary cross-entropy over classes."""

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Weighted loss of logits (B, C) against multi-hot labels (B, C)."""
        return self.loss_weight * F.multilabel_soft_margin_loss(logits.float(), label)
