"""A classifier on patch tokens whose weights also give the CAM."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..cam import conv_cam


@MODELS.register_module()
class ClsCAMHead(BaseModule):
    """Global max pooling over the token map, then a 1x1 classifier without bias.

    CAM: https://arxiv.org/abs/1512.04150; as in ToCo, https://arxiv.org/abs/2303.01267, section 4.2.

    Args:
        num_classes: number of foreground classes C.
        in_channels: token width D.
        in_index: which of the backbone's feature maps is classified.
        loss_cls: the multi-label loss.
        init_cfg: initialisation; by default the convolution's own.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        in_index: int = -1,
        loss_cls: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_index = in_index
        self.num_classes = num_classes
        self.classifier = nn.Conv2d(in_channels, num_classes, kernel_size=1, bias=False)
        self.loss_cls = MODELS.build(loss_cls or dict(type='MultiLabelSoftMarginLoss'))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Classification logits (B, C) from the backbone's feature maps."""
        pooled = F.adaptive_max_pool2d(maps[self.in_index], 1)  # (B, D, 1, 1)
        return self.classifier(pooled).flatten(1)

    def cams(self, maps: Sequence[Tensor]) -> Tensor:
        """Raw CAM (B, C, h, w), detached: labels are made from it, and no gradient flows through it."""
        return conv_cam(maps[self.in_index].detach(), self.classifier.weight.detach())

    def loss(self, maps: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Classification loss ``loss_cls`` against multi-hot labels (B, C)."""
        return dict(loss_cls=self.loss_cls(self(maps), label))
