"""Dense energy: pixels that are close in position and colour should get the same class (L_reg of ToCo).

Regularised losses: Tang et al., https://arxiv.org/abs/1803.09569; ToCo: https://arxiv.org/abs/2303.01267.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...constants import IGNORE
from ..bilateral_sum import bilateral_features, exact_bilateral_sum, grouped_bilateral_sum


def dense_energy(
    images: Tensor,
    probability: Tensor,
    label: Tensor,
    valid: Tensor,
    *,
    sigma_rgb: float = 15.0,
    sigma_xy: float = 50.0,
    bilateral_sum: Callable[[Tensor, Tensor], Tensor] = exact_bilateral_sum,
) -> Tensor:
    """``-sum_k <S_k, w * (A S_k)>``, mean over images (Tang et al., ECCV 2018; the pixel weights w are ToCo's).

    A_ij = exp(-|f_i - f_j|^2 / 2) with f of :func:`bilateral_features`, i = j included. w is 1 at pixels without a
    pseudo-label and 1 - max_k S at the others: the energy has little effect where a pixel is labelled and the network
    is certain.

    The gradient is the published one, -2 w (A S) / B, which treats w as constant and, for the other half of the sum,
    as the same at every pixel. Where w differs it is not the gradient of any function, but it still moves every pixel
    towards the classes of similar pixels.

    Args:
        images: (B, 3, h, w) in [0, 1].
        probability: S, (B, K, h, w) in [0, 1]; gradients flow into it.
        label: long (B, h, w) pseudo-labels, 255 = none.
        valid: bool (B, h, w); outside it S counts as 0.
        sigma_rgb: of colours in 0..255.
        sigma_xy: in pixels.
        bilateral_sum: features, values -> A values.

    Returns:
        scalar <= 0, about the number of pixels times the number of pixels similar to each; published with a weight of
        1e-7.
    """
    inside = (probability * valid[:, None]).flatten(2)  # (B, K, n)
    with torch.no_grad():
        features = bilateral_features(images, sigma_rgb=sigma_rgb, sigma_xy=sigma_xy)
        smooth = bilateral_sum(features, inside.mT.contiguous()).mT
        weight = torch.where(label == IGNORE, 1, 1 - probability.amax(dim=1)).flatten(1)[:, None]
        pull = weight * smooth
    energy = (inside * pull).sum() / len(images)
    return energy.detach() - 2 * energy  # -energy, with twice its gradient: pull stands for half of it


@MODELS.register_module()
class DenseEnergyLoss(nn.Module):
    """:func:`dense_energy` of logits at reduced size, computed where they are: exactly on a GPU, by groups on a CPU.

    As published, S is the mean of probabilities over the pixels that become one; image, label and mask are taken from
    one pixel, so that colours and labels stay unmixed. Everything is float32, also under autocast.

    Args:
        weight: of the energy; 1e-7 brings it to about 1.
        sigma_rgb: of colours in 0..255.
        sigma_xy: in pixels of the full size.
        scale_factor: size at which the energy is computed.
        max_groups: on a CPU, how many groups of similar pixels stand for the pixels of an image
            (:func:`grouped_bilateral_sum`); ``None`` is exact there too and takes seconds.
        loss_weight: of the loss in the total (published: 0.05).
    """

    def __init__(
        self,
        *,
        weight: float = 1e-7,
        sigma_rgb: float = 15.0,
        sigma_xy: float = 100.0,
        scale_factor: float = 0.5,
        max_groups: int | None = 2048,
        loss_weight: float = 0.05,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.sigma_rgb = sigma_rgb
        self.sigma_xy = sigma_xy
        self.scale_factor = scale_factor
        self.on_cpu = (
            exact_bilateral_sum if max_groups is None else partial(grouped_bilateral_sum, max_groups=max_groups)
        )
        self.loss_weight = loss_weight

    def forward(self, images: Tensor, logits: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Weighted loss.

        Args:
            images: (B, 3, H, W) in [0, 1].
            logits: (B, K, h, w) of any size; resized to that of the images.
            label: long (B, H, W) pseudo-labels, 255 = none.
            valid: bool (B, H, W), which pixels show the image and not padding.
        """
        with torch.autocast(images.device.type, enabled=False):
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            full = F.interpolate(logits, size=images.shape[-2:], mode='bilinear', align_corners=False)
            probability = self._shrink(full.softmax(dim=1), mode='bilinear', align_corners=False)
            energy = dense_energy(
                self._shrink(images.to(logits.dtype), mode='nearest'),
                probability,
                self._shrink(label[:, None].to(logits.dtype), mode='nearest')[:, 0].long(),
                self._shrink(valid[:, None].to(logits.dtype), mode='nearest')[:, 0] > 0,
                sigma_rgb=self.sigma_rgb,
                sigma_xy=self.sigma_xy * self.scale_factor,
                bilateral_sum=exact_bilateral_sum if images.is_cuda else self.on_cpu,
            )
        return self.loss_weight * self.weight * energy

    def _shrink(self, x: Tensor, **how) -> Tensor:
        """Resize (B, c, H, W) by ``scale_factor``; a side that would vanish stays one pixel."""
        size = [int(side * self.scale_factor) for side in x.shape[-2:]]
        if min(size) < 1:
            return F.interpolate(x, size=[max(1, side) for side in size], **how)
        return F.interpolate(x, scale_factor=self.scale_factor, **how)
