"""Fully connected conditional random field behind the refiner interface."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .interface import maps_per_image

GAUSSIAN = MappingProxyType({'sxy': 1, 'compat': 1})
BILATERAL = MappingProxyType({'sxy': 121, 'srgb': 5, 'compat': 4})
_SMALLEST = 1e-5  # below it a probability of 0 would veto its class for ever


@MODELS.register_module()
class DenseCRF(nn.Module):
    """Mean-field inference in a fully connected CRF (Krähenbühl & Koltun, NeurIPS 2011) by pydensecrf.

    The defaults are ToCo's at test time. pydensecrf runs on the CPU, one image after the other, about a second for a
    photo with 21 classes; run several processes to use more cores (it holds the interpreter lock). Its filtering is
    approximate (a permutohedral lattice). A class that scores 0 everywhere is left out of the inference and stays 0.

    Args:
        num_iter: Mean-field iterations.
        gaussian: Smoothness kernel: ``sxy``, its width in pixels, and ``compat``, its weight.
        bilateral: Appearance kernel: ``sxy`` in pixels, ``srgb`` in colour steps of 0..255, and ``compat``.

    Raises:
        ImportError: pydensecrf is not installed.
    """

    def __init__(
        self,
        *,
        num_iter: int = 10,
        gaussian: Mapping[str, float] = GAUSSIAN,
        bilateral: Mapping[str, float] = BILATERAL,
    ) -> None:
        super().__init__()
        try:
            from pydensecrf.densecrf import DenseCRF2D
        except ImportError as error:
            raise ImportError(
                'DenseCRF needs pydensecrf, which is in the extra `crf`: pip install "mmseg-wsss[crf]" '
                '(or: pip install pydensecrf2==1.1)'
            ) from error
        self._crf = DenseCRF2D
        self.num_iter = num_iter
        self.gaussian = {**GAUSSIAN, **gaussian}
        self.bilateral = {**BILATERAL, **bilateral}

    def extra_repr(self) -> str:
        """Show the values that matter when the model is printed."""
        return f'num_iter={self.num_iter}, gaussian={self.gaussian}, bilateral={self.bilateral}'

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
        images = images.repeat(maps_per_image(images, scores), 1, 1, 1)
        scores = F.interpolate(scores.float(), size=images.shape[-2:], mode='bilinear', align_corners=False)
        pixels = (images.float() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        maps = scores.cpu().numpy()
        refined = np.stack([self._refine(image, score) for image, score in zip(pixels, maps, strict=True)])
        return torch.from_numpy(refined).to(scores.device)

    def _refine(self, image: np.ndarray, score: np.ndarray) -> np.ndarray:
        """One image (H, W, 3) uint8 and its scores (K, H, W)."""
        refined = np.zeros_like(score)
        present = np.flatnonzero(score.any(axis=(1, 2)))
        if not present.size:
            return refined
        height, width = image.shape[:2]
        crf = self._crf(width, height, len(present))
        # pydensecrf reads raw memory: contiguous and writable, or it refuses.
        energy = self._unary(score[present]).reshape(len(present), -1)
        crf.setUnaryEnergy(np.ascontiguousarray(energy, dtype=np.float32))
        crf.addPairwiseGaussian(**self.gaussian)
        crf.addPairwiseBilateral(rgbim=np.array(image, order='C'), **self.bilateral)
        refined[present] = np.reshape(crf.inference(self.num_iter), (len(present), height, width))
        return refined

    def _unary(self, score: np.ndarray) -> np.ndarray:
        """Energies (K, H, W) that the scores (K, H, W) of the classes present stand for, before any smoothing."""
        probability = score / np.maximum(score.sum(axis=0), _SMALLEST)
        return -np.log(np.clip(probability, _SMALLEST, 1))
