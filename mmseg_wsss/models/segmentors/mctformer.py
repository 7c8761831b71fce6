"""MCTformer+, first stage: contrastive class tokens and their attention (https://arxiv.org/abs/2308.03005)."""

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...structures import image_scores
from ..backbones import SelfAttention
from .first_stage import FirstStage


@MODELS.register_module()
class MCTformer(FirstStage):
    """A classifier with one class token per class, whose attention and patch CAM are fused (MCTformer+ Figure 2).

    MCTformer-V2 (https://arxiv.org/abs/2203.02891) is ``loss_cct=None`` with a head of ``fusion='product'``,
    ``num_blocks=3`` and ``decay=1``.

    Args:
        cam_head: ``MCTCAMHead``.
        loss_cct: ``TokenIdentityLoss`` of the class tokens of all blocks; None: off.
        cam_scales: scales at test time, each with its flip, summed.
        **kwargs: of ``FirstStage``.
    """

    def __init__(
        self, *, loss_cct: dict | None = None, cam_scales: Sequence[float] = (1.0, 0.75, 1.25), **kwargs
    ) -> None:
        super().__init__(cam_scales=cam_scales, **kwargs)
        self.loss_cct = MODELS.build(loss_cct) if loss_cct else None

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses of class tokens and patches, and the contrast of the class tokens of every block.

        Args:
            inputs: (B, 3, H, W), normalised.
            data_samples: with image-level labels.
        """
        label = image_scores(data_samples)
        if self.loss_cct is None:
            return self.cam_head.loss(self.backbone.tokens(inputs), label)
        tokens = self.backbone.tokens(inputs, record=self._class_tokens)
        losses = self.cam_head.loss(tokens, label)
        return losses | dict(loss_cct=self.loss_cct(torch.stack(tokens.recorded), label))

    def _class_tokens(self, attention: SelfAttention) -> Tensor:
        """Class tokens after a block, (B, C, D); a copy, so that the patches can be freed where passes are chunks."""
        return attention.tokens[:, : self.backbone.num_extra_tokens].clone()
