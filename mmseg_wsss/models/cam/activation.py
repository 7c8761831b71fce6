"""Class activation maps from token maps: one function for training and testing."""

from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Turns images (B, 3, H, W) into named raw CAMs (B, C, h, w), e.g. the final and the auxiliary one.
CAMFunction = Callable[[Tensor], dict[str, Tensor]]


def conv_cam(features: Tensor, weight: Tensor) -> Tensor:
    """CAM before relu: the classifier applied to every token.

    CAM: https://arxiv.org/abs/1512.04150; as in ToCo, https://arxiv.org/abs/2303.01267, Eq. 1.

    Args:
        features: token map (B, D, h, w).
        weight: classifier weight (C, D, 1, 1).

    Returns:
        (B, C, h, w).
    """
    return F.conv2d(features, weight)


def normalize_cam(cam: Tensor, eps: float = 1e-5) -> Tensor:
    """Scale every class map of every image to [0, 1): subtract its minimum, divide by its new maximum + eps.

    Args:
        cam: (B, C, h, w).
        eps: keeps an all-zero map at zero.
    """
    shifted = cam - cam.amin(dim=(-2, -1), keepdim=True)
    return shifted / (shifted.amax(dim=(-2, -1), keepdim=True) + eps)


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=False)


def scale_bilinear(images: Tensor, scale: float) -> Tensor:
    """Images (B, 3, H, W) with sides ``int(scale * side)`` >= 1, bilinear without antialiasing (published ToCo)."""
    return _resize(images, [max(1, int(scale * side)) for side in images.shape[-2:]])


def scale_bicubic(images: Tensor, scale: float) -> Tensor:
    """Images (B, 3, H, W) with sides ``round(scale * side)`` >= 1, by Pillow's bicubic filter (published WeakTr)."""
    size = [max(1, round(scale * side)) for side in images.shape[-2:]]
    # with antialiasing torch's filter is Pillow's: coefficient -0.5 instead of -0.75, averaging where it shrinks
    return F.interpolate(images, size=size, mode='bicubic', align_corners=False, antialias=True)


@torch.no_grad()
def multi_scale_cam(
    cam_function: CAMFunction,
    images: Tensor,
    *,
    scales: Sequence[float] = (1.0, 0.5, 1.5),
    scale_images: Callable[[Tensor, float], Tensor] = scale_bilinear,
    merge_flip: Callable[[Tensor, Tensor], Tensor] | None = torch.maximum,
    eps: float = 1e-5,
    signed: Collection[str] = (),
    at_scale_one: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Multi-scale CAMs with flips at the size of the images.

    ToCo, https://arxiv.org/abs/2303.01267, Eq. 1 and section 5.1; WeakTr, https://arxiv.org/abs/2304.01184. The CAMs of
    every scaled image and its mirror image are resized to the input size, merged and passed through relu; their sum
    over the scales is normalised by :func:`normalize_cam`. They are not masked by image-level labels.

    Args:
        cam_function: images to raw CAMs by name, any number of them, computed in one pass.
        images: (B, 3, H, W), normalised.
        scales: factors of the image size.
        scale_images: makes the images of a scale: :func:`scale_bilinear` (ToCo) or :func:`scale_bicubic` (WeakTr).
        merge_flip: how the pair is merged: the maximum (ToCo) or ``torch.add`` (WeakTr); None: no mirror images.
        eps: of :func:`normalize_cam`, published 1e-5 (ToCo) and 1e-8 (WeakTr, whose maps are of the order 1e-3).
        signed: names of the maps that are summed without the relu, as MoRe's class token localisation.
        at_scale_one: the result of ``cam_function(images)`` if it is known, so that this pass is not repeated.

    Returns:
        for each CAM of ``cam_function`` a float32 map (B, C, H, W) in [0, 1), under its name.
    """
    size = images.shape[-2:]
    sums: dict[str, Tensor] = {}
    for scale in scales:
        scaled = images if scale == 1 else scale_images(images, scale)
        known = at_scale_one if scale == 1 else None
        if merge_flip is None:
            pairs = {name: (cam,) for name, cam in (known or cam_function(scaled)).items()}
        elif known is not None:
            mirrored = cam_function(scaled.flip(-1))
            pairs = {name: (cam, mirrored[name]) for name, cam in known.items()}
        else:
            both = cam_function(torch.cat((scaled, scaled.flip(-1))))  # each (2B, C, h, w)
            pairs = {name: cam.chunk(2) for name, cam in both.items()}
        for name, (straight, *mirrored) in pairs.items():
            # float32 from here: a sum of maps in half precision loses the small activations
            pair = _resize(straight.float(), size)
            for other in mirrored:
                pair = merge_flip(pair, _resize(other.float(), size).flip(-1))
            pair = pair if name in signed else pair.relu()
            sums[name] = sums[name] + pair if name in sums else pair
    return {name: normalize_cam(cam, eps) for name, cam in sums.items()}
