"""MCTformer's head: class tokens and patches are classified, and attention fuses both into one CAM."""

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..backbones import SelfAttention, Tokens
from ..cam import class_attention, rank_weighted_mean, spread_by_patch_attention

# Class-to-patch attention and relu of the patch CAM, both (B, C, N) and >= 0, to one map.
_FUSIONS = {
    'sqrt': lambda attention, cam: (attention * cam).sqrt(),
    'product': lambda attention, cam: attention * cam,
    'patch': lambda attention, cam: cam,
    'class': lambda attention, cam: attention,
}


@MODELS.register_module()
class MCTCAMHead(BaseModule):
    """Patch CAM by a 3x3 convolution, fused with class-to-patch attention, spread by patch-to-patch attention.

    MCTformer+, https://arxiv.org/abs/2308.03005: ``PA . sqrt(CA * relu(A))`` with A the patch CAM, CA the mean of the
    class-to-patch attention over heads and blocks, and PA the patch-to-patch attention, averaged over heads and summed
    over blocks. All heads count alike, and no loss reaches the fusion.

    Args:
        num_classes: number of foreground classes C; the backbone has as many class tokens.
        in_channels: token width D.
        fusion: ``'sqrt'``; ``'product'``, without the root (MCTformer-V2); ``'patch'``, relu(A) alone; ``'class'``, CA
            alone (MCTformer-V1).
        num_blocks: how many of the last blocks CA is the mean of, at least 1 (V1 and V2: 3); None: all. PA is always of
            all blocks.
        decay: of the pooling of A into logits, see ``rank_weighted_mean`` (published: 0.996; V2: 1, the mean).
        loss_cls: the multi-label loss of both logits.
        init_cfg: initialisation; by default the convolution's own.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        fusion: str = 'sqrt',
        num_blocks: int | None = None,
        decay: float = 0.996,
        loss_cls: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if fusion not in _FUSIONS:
            raise ValueError(f'fusion must be one of {sorted(_FUSIONS)}, got {fusion!r}')
        if num_blocks is not None and num_blocks < 1:
            raise ValueError(f'num_blocks must be at least 1, or None for all, got {num_blocks}')
        if not 0 <= decay <= 1:
            raise ValueError(f'decay must be in [0, 1], got {decay}')
        self.num_classes = num_classes
        self.classifier = nn.Conv2d(in_channels, num_classes, kernel_size=3, padding=1)
        self.fusion = fusion
        self.num_blocks = num_blocks
        self.decay = decay
        self.loss_cls = MODELS.build(loss_cls or dict(type='MultiLabelSoftMarginLoss'))

    def record(self, attention: SelfAttention) -> tuple[Tensor, Tensor]:
        """What the CAM needs of a block's attention; the ``record`` argument of the backbone's ``tokens``."""
        return attention.query, attention.key

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Logits of the class tokens and of the patches, each (B, C)."""
        patch = rank_weighted_mean(self.classifier(tokens.maps[-1]), self.decay)
        return tokens.cls_token.mean(dim=-1), patch

    def loss(self, tokens: Tokens, label: Tensor) -> dict[str, Tensor]:
        """Losses of class tokens and patches against multi-hot labels (B, C); nothing has to be recorded."""
        token, patch = self(tokens)
        return dict(loss_token=self.loss_cls(token, label), loss_patch=self.loss_cls(patch, label))

    @torch.no_grad()
    def fused(self, tokens: Tokens) -> Tensor:
        """Class attention and patch CAM of a recorded pass as one map (B, C, h, w), not yet spread."""
        cam = self.classifier(tokens.maps[-1]).float().relu()
        last = slice(None if self.num_blocks is None else -self.num_blocks, None)
        queries, keys, weights = _equal_heads(tokens)
        with torch.autocast(cam.device.type, enabled=False):
            attention = class_attention(queries[last], keys[last], weights[:, last], self.num_classes)
            return _FUSIONS[self.fusion](attention, cam.flatten(2)).unflatten(-1, cam.shape[-2:])

    @torch.no_grad()
    def cams(self, tokens: Tokens) -> Tensor:
        """CAM (B, C, h, w) of a recorded pass, not normalised."""
        fused = self.fused(tokens)
        queries, keys, weights = _equal_heads(tokens)
        with torch.autocast(fused.device.type, enabled=False):
            # mean over heads, but sum over blocks
            spread = spread_by_patch_attention(fused.flatten(2), queries, keys, len(keys) * weights, self.num_classes)
        return spread.unflatten(-1, fused.shape[-2:])


def _equal_heads(tokens: Tokens) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
    """Queries and keys of K blocks and a weight of 1 for every head, (B, K, H)."""
    queries, keys = zip(*tokens.recorded, strict=True)
    batch, heads = keys[0].shape[:2]
    return queries, keys, keys[0].new_ones(batch, len(keys), heads, dtype=torch.float32)
