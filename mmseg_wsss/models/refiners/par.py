"""Pixel-adaptive refinement of score maps."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .interface import maps_per_image

_EPS = 1e-8


@MODELS.register_module()
class PAR(nn.Module):
    """Pixel-adaptive refinement (AFA, https://arxiv.org/abs/2203.02664; used by ToCo, https://arxiv.org/abs/2303.01267).

    ``num_iter`` times, every score is replaced by the weighted sum of the scores of its 8 neighbours at each dilation::

        a_ij = softmax_j(-mean_rgb((|I_i - I_j| / (w1 * std_i(I)))^2))
             + w2 * softmax_j(-(|p_i - p_j| / (w1 * std(p)))^2)

    where j runs over the ``8 * len(dilations)`` neighbours of i, ``std_i`` is the standard deviation of a colour over
    these neighbours and ``std(p)`` the one of their distances. Beyond the border the nearest pixel is repeated. The
    weights of a pixel sum to ``1 + w2``, so scores grow slightly; their arg-max is what counts.

    Args:
        num_iter: How often the weighted sum is taken.
        dilations: Distances of the rings of 8 neighbours, in pixels.
        w1: Width of both kernels in standard deviations.
        w2: Weight of the position kernel beside the colour kernel.
    """

    def __init__(
        self, *, num_iter: int = 10, dilations: Sequence[int] = (1, 2, 4, 8, 12, 24), w1: float = 0.3, w2: float = 0.01
    ) -> None:
        super().__init__()
        if num_iter < 0 or not dilations or min(dilations) < 1:
            raise ValueError(
                f'PAR needs num_iter >= 0 and dilations >= 1, got num_iter={num_iter}, dilations={dilations}'
            )
        self.num_iter = num_iter
        self.w1 = w1
        self.w2 = w2
        self.margin = max(dilations)
        self.offsets = [(y * d, x * d) for d in dilations for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
        distance = torch.tensor(self.offsets, dtype=torch.float32).norm(dim=1)
        position = torch.softmax(-((distance / (distance.std() + _EPS) / w1) ** 2), dim=0)
        self.register_buffer('position', w2 * position.view(1, -1, 1, 1), persistent=False)

    def extra_repr(self) -> str:
        """Show the values that matter when the model is printed."""
        return f'num_iter={self.num_iter}, neighbours={len(self.offsets)}, w1={self.w1}, w2={self.w2}'

    @torch.no_grad()
    def forward(self, images: Tensor, scores: Tensor) -> Tensor:
        """Refine scores along the colours of the images.

        Args:
            images: (B, 3, H, W) in [0, 1].
            scores: (G * B, K, h, w), G maps per image, map i belongs to image i % B; resized bilinearly (corners
                aligned, as published) to (H, W).

        Returns:
            (G * B, K, H, W) float32 without gradient.
        """
        groups = maps_per_image(images, scores)
        with torch.autocast(images.device.type, enabled=False):  # squares of small differences
            scores = F.interpolate(scores.float(), size=images.shape[-2:], mode='bilinear', align_corners=True)
            if self.num_iter == 0:
                return scores
            weights = self.affinity(images.float())
            # Channels do not mix, so the maps of an image share its weights as channels: (B, G * K, H, W)
            maps = scores.unflatten(0, (groups, -1)).transpose(0, 1).flatten(1, 2)
            for _ in range(self.num_iter):
                maps = self._weighted_sum(maps, weights)
            return maps.unflatten(1, (groups, -1)).transpose(0, 1).flatten(0, 1)

    def affinity(self, images: Tensor) -> Tensor:
        """Weights (B, neighbours, H, W) of the neighbours of every pixel of ``images`` (B, 3, H, W), float32."""
        # One neighbour at a time: all together would need 48 copies of the image in each step.
        count = len(self.offsets)
        mean = torch.zeros_like(images)
        for neighbour in self._neighbours(images):
            mean += neighbour
        mean /= count
        variance = torch.zeros_like(images)
        for neighbour in self._neighbours(images):
            difference = neighbour - mean
            variance.addcmul_(difference, difference)
        scale = 1 / ((variance / max(count - 1, 1)).sqrt_().add_(_EPS).mul_(self.w1))
        weights = images.new_empty(images.shape[0], count, *images.shape[-2:])
        for index, neighbour in enumerate(self._neighbours(images)):
            ratio = (neighbour - images).mul_(scale)
            torch.mean(ratio.mul_(ratio), dim=1, out=weights[:, index])
        return weights.neg_().softmax(dim=1).add_(self.position)

    def _neighbours(self, maps: Tensor) -> Iterator[Tensor]:
        """Views of ``maps`` (B, K, H, W) shifted by each offset, in the order of the offsets."""
        height, width = maps.shape[-2:]
        padded = F.pad(maps, [self.margin] * 4, mode='replicate')
        for y, x in self.offsets:
            yield padded[..., self.margin + y : self.margin + y + height, self.margin + x : self.margin + x + width]

    def _weighted_sum(self, scores: Tensor, weights: Tensor) -> Tensor:
        """Sum of the neighbours of ``scores`` (B, K, H, W) with ``weights`` (B, neighbours, H, W)."""
        total = torch.zeros_like(scores)
        for index, neighbour in enumerate(self._neighbours(scores)):
            total.addcmul_(neighbour, weights[:, index : index + 1])
        return total
