"""Refinement of score maps by the similarity of image patches in a vision transformer."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..backbones import SelfAttention, Tokens
from ..cam import balanced, feature_affinity, mean_patch_attention, spread
from .interface import maps_per_image

SOURCES = ('attention', 'features')


@MODELS.register_module()
class FeatureAffinity(nn.Module):
    """Spread scores over similar patches, by the attention of a plain ViT or by its features.

    As class-aware attention-based affinity of CLIP-ES (https://arxiv.org/abs/2212.09506, section 3.3): the affinity is
    balanced by Sinkhorn rounds, made symmetric and raised to a power; values outside the boxes of their map's high
    values count as 0. Every map keeps its smallest and largest value, so thresholds keep their meaning, and a constant
    background stays constant.

    Args:
        backbone: ``TokenViT`` as a config, which is frozen, or as a module that is shared; None where the caller has
            the tokens of its own pass.
        source: ``'attention'``: the mean over the heads of the last ``num_blocks`` blocks; ``'features'``: a softmax of
            the cosines of the last tokens.
        num_blocks: published: 8.
        temperature: of the softmax of the features.
        rounds, power: of Sinkhorn, and of the affinity; published: 3 and 2.
        box_threshold: share of a map's maximum from which on a value makes boxes (published: 0.4 on VOC, 0.7 on COCO);
            None: no boxes.
        longer_side: to which images are resized, in pixels; None: as they are.
        mean, std: of the backbone's inputs, RGB in 0..255; by default ImageNet's.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        backbone: dict | nn.Module | None = None,
        source: str = 'attention',
        num_blocks: int = 8,
        temperature: float = 0.1,
        rounds: int = 3,
        power: int = 2,
        box_threshold: float | None = 0.4,
        longer_side: int | None = None,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
    ) -> None:
        super().__init__()
        if source not in SOURCES:
            raise ValueError(f'source must be one of {", ".join(SOURCES)}, got {source!r}')
        if not (num_blocks >= 1 and temperature > 0 and rounds >= 0 and power >= 1):
            raise ValueError(
                'FeatureAffinity needs num_blocks >= 1, temperature > 0, rounds >= 0, power >= 1, got '
                f'{num_blocks}, {temperature}, {rounds}, {power}'
            )
        if box_threshold is not None and not 0 <= box_threshold <= 1:
            raise ValueError(f'box_threshold is a share of the maximum, in [0, 1], got {box_threshold}')
        self.source, self.num_blocks, self.temperature = source, num_blocks, temperature
        self.rounds, self.power, self.box_threshold = rounds, power, box_threshold
        self.longer_side = longer_side
        if isinstance(backbone, dict):
            backbone = MODELS.build(backbone).requires_grad_(False)
        self.backbone = backbone
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    def extra_repr(self) -> str:
        """All values; the settings of a folder of labels contain them."""
        names = ('source', 'num_blocks', 'temperature', 'rounds', 'power', 'box_threshold', 'longer_side')
        values = {name: getattr(self, name) for name in names}
        values |= {name: [round(one, 4) for one in getattr(self, name).flatten().tolist()] for name in ('mean', 'std')}
        return ', '.join(f'{name}={value!r}' for name, value in values.items())

    def init_weights(self) -> None:
        """Load the backbone's ``init_cfg``; a checkpoint of a network that has this part holds its weights too."""
        if self.backbone is not None and self.backbone.init_cfg:
            self.backbone.init_weights()

    def train(self, mode: bool = True) -> 'FeatureAffinity':
        """A frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.backbone is not None and not any(one.requires_grad for one in self.backbone.parameters()):
            self.backbone.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, scores: Tensor) -> Tensor:
        """Refine scores by the affinity of the images' patches: under autocast the backbone's pass follows it.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            scores: (G * B, K, h, w) >= 0, G maps per image, map i belongs to image i % B.

        Returns:
            (G * B, K, H, W) float32 without gradient.
        """
        groups = maps_per_image(images, scores)
        record = self.recorder(self.backbone) if self.source == 'attention' else None
        tokens = self.backbone.tokens(self._inputs(images), record=record)
        with torch.autocast(images.device.type, enabled=False):
            grid = tokens.maps[-1].shape[-2:]
            affinity = self.of_attention(tokens) if self.source == 'attention' else self._of_features(tokens)
            small = F.interpolate(scores.float(), size=grid, mode='bilinear', align_corners=False, antialias=True)
            maps = small.unflatten(0, (groups, -1)).transpose(0, 1).flatten(1, 2)  # (B, G * K, h, w)
            refined = self.spread(maps, affinity).unflatten(1, (groups, -1)).transpose(0, 1).flatten(0, 1)
            return F.interpolate(refined, size=images.shape[-2:], mode='bilinear', align_corners=False)

    def recorder(self, backbone: nn.Module) -> Callable[[SelfAttention], tuple[Tensor, ...]]:
        """The ``record`` argument for a pass of ``backbone``, whose last block then holds what is needed.

        It returns a tuple: the sum (B, N, N) of the attention of the last ``num_blocks`` blocks for the last block, and
        nothing for the others, so that one matrix is kept.
        """
        total: Tensor | int = 0
        first, last = backbone.num_layers - self.num_blocks, backbone.num_layers - 1

        def record(attention: SelfAttention) -> tuple[Tensor, ...]:
            nonlocal total
            if attention.block == 0:  # of this chunk of the batch
                total = 0
            if attention.block >= first:
                total = total + mean_patch_attention(attention.query, attention.key, backbone.num_extra_tokens)
            return (total,) if attention.block == last else ()

        return record

    def of_attention(self, tokens: Tokens) -> Tensor:
        """Balanced affinity (B, N, N) by the attention of a pass with :meth:`recorder`."""
        total = tokens.recorded[-1][0]
        return balanced(total / min(self.num_blocks, len(tokens.recorded)), self.rounds)

    def spread(self, maps: Tensor, affinity: Tensor) -> Tensor:
        """Maps (B, K, h, w) on the token grid by a balanced affinity (B, h * w, h * w)."""
        return spread(maps, affinity, power=self.power, box_threshold=self.box_threshold)

    def _of_features(self, tokens: Tokens) -> Tensor:
        return balanced(feature_affinity(tokens.maps[-1].flatten(2).mT, self.temperature), self.rounds)

    def _inputs(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] for the backbone, with sides of whole patches."""
        patch, sides = self.backbone.patch_size, images.shape[-2:]
        scale = 1 if self.longer_side is None else self.longer_side / max(sides)
        size = [max(1, round(scale * side / patch)) * patch for side in sides]
        resized = F.interpolate(images.float(), size=size, mode='bilinear', align_corners=False, antialias=True)
        return (255 * resized - self.mean) / self.std
