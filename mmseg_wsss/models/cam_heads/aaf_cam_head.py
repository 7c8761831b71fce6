"""WeakTr's head: a coarse CAM from the patch tokens, refined by the encoder's attention."""

from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..backbones import SelfAttention, Tokens
from ..cam import class_attention, received_attention, spread_by_patch_attention


class _Seen(NamedTuple):
    """What is kept of a block's attention, for the head weights and for the fusion; all detached."""

    pooled: Tensor
    query: Tensor
    key: Tensor


class FusedCAMs(NamedTuple):
    """CAMs on the token grid, each (B, C, h, w), not normalised.

    Attributes:
        coarse: the convolution's output, of any sign.
        fine: relu(coarse) under the fused attention, >= 0; its gradient reaches the head weights only.
    """

    coarse: Tensor
    fine: Tensor


@MODELS.register_module()
class AAFCAMHead(BaseModule):
    """Coarse CAM, adaptive attention fusion, fine CAM, and their three multi-label losses.

    WeakTr, https://arxiv.org/abs/2304.01184, Figure 3, Eq. 1 to 6: ``fine = PA . (relu(coarse) * CA)`` with CA the
    fused class-to-patch and PA the fused patch-to-patch attention. Attention and coarse CAM are detached in it, as
    published: the fine loss trains the head weights alone.

    Args:
        num_classes: number of foreground classes C; the backbone has as many class tokens.
        in_channels: token width D.
        head_weights: the weights of the attention heads, see ``head_weights.py``.
        cross_attention, patch_attention: multiply by CA, spread by PA; without both the fine CAM is relu(coarse).
        fine_scale: factor on the fine logits. They are of the order 1e-3 and so is the gradient of their loss;
            published: 1.
        loss_cls: the multi-label loss of the three logits.
        init_cfg: initialisation; by default the convolution's own.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        head_weights: dict | None = None,
        cross_attention: bool = True,
        patch_attention: bool = True,
        fine_scale: float = 1.0,
        loss_cls: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if fine_scale <= 0:
            raise ValueError(f'fine_scale must be positive, got {fine_scale}')
        self.num_classes = num_classes
        self.classifier = nn.Conv2d(in_channels, num_classes, kernel_size=3, padding=1)
        self.head_weights = MODELS.build(head_weights or dict(type='OutputPooledWeights'))
        self.cross_attention = cross_attention
        self.patch_attention = patch_attention
        self.fine_scale = fine_scale
        self.loss_cls = MODELS.build(loss_cls or dict(type='MultiLabelSoftMarginLoss'))

    def record(self, attention: SelfAttention) -> _Seen | tuple[()]:
        """What to keep of a block's attention; the ``record`` argument of the backbone's ``tokens``."""
        if not (self.cross_attention or self.patch_attention):
            return ()  # no attention, so no head weights either
        return _Seen(self.head_weights.record(attention), attention.query.detach(), attention.key.detach())

    def forward(self, tokens: Tokens) -> FusedCAMs:
        """Coarse and fine CAM of the tokens of a recorded pass."""
        coarse = self.classifier(tokens.maps[-1])  # (B, C, h, w)
        with torch.autocast(coarse.device.type, enabled=False):
            cam, fusion = self._crossed(coarse, tokens)
            if self.patch_attention:
                cam = spread_by_patch_attention(cam, *fusion, self.num_classes)
        return FusedCAMs(coarse, cam.unflatten(-1, coarse.shape[-2:]))

    def cams(self, tokens: Tokens) -> Tensor:
        """Fine CAM (B, C, h, w), not normalised."""
        return self(tokens).fine

    def loss(self, tokens: Tokens, label: Tensor) -> dict[str, Tensor]:
        """Losses of class tokens, coarse and fine CAM against multi-hot labels (B, C)."""
        coarse = self.classifier(tokens.maps[-1])
        return dict(
            loss_token=self.loss_cls(tokens.cls_token.mean(dim=-1), label),
            loss_coarse=self.loss_cls(coarse.mean(dim=(-2, -1)), label),
            loss_fine=self.loss_cls(self.fine_scale * self._fine_mean(coarse, tokens), label),
        )

    def _crossed(self, coarse: Tensor, tokens: Tokens) -> tuple[Tensor, tuple]:
        """``relu(coarse) * CA``, (B, C, N), and, if needed, queries, keys and head weights of all blocks.

        In float32, in which sums over heads and blocks are taken also under autocast.
        """
        cam = coarse.detach().float().relu().flatten(2)
        if not (self.cross_attention or self.patch_attention):
            return cam, ()
        pooled, queries, keys = zip(*tokens.recorded, strict=True)
        fusion = queries, keys, self.head_weights(pooled)  # the weights are (B, K, H)
        if self.cross_attention:
            cam = cam * class_attention(*fusion, self.num_classes)
        return cam, fusion

    def _fine_mean(self, coarse: Tensor, tokens: Tokens) -> Tensor:
        """Spatial mean of the fine CAM, (B, C), without the fine CAM."""
        with torch.autocast(coarse.device.type, enabled=False):
            cam, fusion = self._crossed(coarse, tokens)
            if not self.patch_attention:
                return cam.mean(dim=-1)
            return torch.einsum('bcn,bn->bc', cam, received_attention(*fusion, self.num_classes))
