"""What all fully connected conditional random fields share: parameters, initial energies, choice of the classes."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .interface import maps_per_image
from .presets import find_preset

NOTHING: Mapping[str, float] = MappingProxyType({})
_SMALLEST = 1e-5  # a probability of 0 would exclude its class for good


class FullyConnectedCRF(nn.Module, metaclass=ABCMeta):
    """Mean-field inference in a fully connected CRF with Potts compatibilities (https://arxiv.org/abs/1210.5644)::

        Q_i(l) ~ p_i(l) exp(sum_m w_m sum_j k_m(i, j) / sqrt(d_m(i) d_m(j)) Q_j(l)),  d_m(i) = sum_j k_m(i, j)

    repeated ``num_iter`` times, starting from Q = p; j runs over all pixels, including i. The kernels are a Gaussian of
    the positions and a bilateral kernel of positions and colours. Subclasses compute the sums over j.

    The time grows with the number of classes, so classes whose probability is ``negligible`` everywhere are left out
    and get 0. The default is the value at which probabilities are clipped.

    Args:
        preset: Name of a parameter set, see :data:`CRF_PRESETS`.
        num_iter: Mean-field iterations; by default the preset's.
        gaussian: Smoothness kernel: ``sxy``, its width in pixels, and ``compat``, its weight; a missing key is taken
            from the preset.
        bilateral: Appearance kernel: ``sxy`` in pixels, ``srgb`` in colour steps of 0..255, and ``compat``; likewise.
        negligible: Classes whose probability does not exceed this at any pixel are left out.

    Raises:
        ValueError: there is no such preset, or a kernel has no such key.
    """

    def __init__(
        self,
        *,
        preset: str = 'toco',
        num_iter: int | None = None,
        gaussian: Mapping[str, float] = NOTHING,
        bilateral: Mapping[str, float] = NOTHING,
        negligible: float = _SMALLEST,
    ) -> None:
        super().__init__()
        base = find_preset(preset)
        self.num_iter = base.num_iter if num_iter is None else num_iter
        self.gaussian = _changed('gaussian', base.gaussian, gaussian)
        self.bilateral = _changed('bilateral', base.bilateral, bilateral)
        self.negligible = negligible

    def extra_repr(self) -> str:
        """Show the values that matter when the model is printed."""
        values = f'num_iter={self.num_iter}, gaussian={self.gaussian}, bilateral={self.bilateral}'
        return f'{values}, negligible={self.negligible}'

    @torch.no_grad()
    def forward(self, images: Tensor, scores: Tensor) -> Tensor:
        """Refine probabilities along the colours of the images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            scores: (G * B, K, h, w) >= 0, G maps per image, map i belongs to image i % B; resized bilinearly to
                (H, W) and divided by their sum over the classes.

        Returns:
            (G * B, K, H, W) float32 probabilities on the device of the scores, without gradient.
        """
        groups = maps_per_image(images, scores)
        with torch.autocast(scores.device.type, enabled=False):
            scores = F.interpolate(scores.float(), size=images.shape[-2:], mode='bilinear', align_corners=False)
            pixels = (images.float() * 255).round().clamp(0, 255).repeat(groups, 1, 1, 1)
            return torch.stack([self._refine(image, score) for image, score in zip(pixels, scores, strict=True)])

    def present(self, score: Tensor) -> Tensor:
        """Which classes of an image are used, bool (K,), from its scores (K, H, W)."""
        return _shares(score).flatten(1).amax(dim=1) > self.negligible

    def _refine(self, image: Tensor, score: Tensor) -> Tensor:
        """One image (3, H, W) in 0..255 and its scores (K, H, W)."""
        refined = torch.zeros_like(score)
        present = self.present(score)
        if present.any():
            refined[present] = self._infer(image, self._unary(score[present])).to(refined)
        return refined

    def _unary(self, score: Tensor) -> Tensor:
        """Unary energies (K, H, W) of the scores (K, H, W) of the present classes."""
        return -_shares(score).clamp(_SMALLEST, 1).log()

    @abstractmethod
    def _infer(self, image: Tensor, unary: Tensor) -> Tensor:
        """Probabilities (K, H, W) of one image (3, H, W) in 0..255 with the energies ``unary`` (K, H, W)."""


def _changed(kernel: str, base: Mapping[str, float], changes: Mapping[str, float]) -> dict[str, float]:
    """The parameters of a kernel with some of them replaced."""
    unknown = sorted(changes.keys() - base.keys())
    if unknown:
        raise ValueError(f'the {kernel} kernel has no {", ".join(unknown)}, but: {", ".join(base)}')
    return {**base, **changes}


def _shares(score: Tensor) -> Tensor:
    """Probabilities (K, H, W) of the scores."""
    return score / score.sum(dim=0).clamp(min=_SMALLEST)
