"""Class activation maps from token maps: one function for training and testing."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Turns images (B, 3, H, W) into one or several raw CAMs (B, C, h, w), e.g. the final and the auxiliary one.
CAMFunction = Callable[[Tensor], tuple[Tensor, ...]]


def conv_cam(features: Tensor, weight: Tensor) -> Tensor:
    """CAM before relu: the classifier applied to every token (ToCo Eq. 1).

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


@torch.no_grad()
def multi_scale_cam(
    cam_function: CAMFunction,
    images: Tensor,
    *,
    scales: Sequence[float] = (1.0, 0.5, 1.5),
    merge_flip: Callable[[Tensor, Tensor], Tensor] = torch.maximum,
    at_scale_one: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, ...]:
    """Multi-scale, flipped CAMs at the size of the images (ToCo Eq. 1 and section 5.1; WeakTr).

    Every scale and its mirror image are resized to the input size; the merged pair goes through relu, the sum over
    scales is normalised by :func:`normalize_cam`. Not yet multiplied by image-level labels.

    Args:
        cam_function: images to raw CAMs (any number of them, computed in one pass).
        images: (B, 3, H, W), normalised.
        scales: factors of the image size.
        merge_flip: what becomes of the pair: the maximum (ToCo) or ``torch.add`` (WeakTr).
        at_scale_one: what ``cam_function(images)`` gave already; that pass is then not repeated.

    Returns:
        for each CAM of ``cam_function`` a float32 map (B, C, H, W) in [0, 1).
    """
    size = images.shape[-2:]
    sums: list[Tensor] = []
    for scale in scales:
        scaled = (
            images if scale == 1 else F.interpolate(images, scale_factor=scale, mode='bilinear', align_corners=False)
        )
        if scale == 1 and at_scale_one is not None:
            pairs = zip(at_scale_one, cam_function(scaled.flip(-1)), strict=True)
        else:
            both = cam_function(torch.cat((scaled, scaled.flip(-1))))  # each (2B, C, h, w)
            pairs = (cam.chunk(2) for cam in both)
        for index, (straight, mirrored) in enumerate(pairs):
            # float32 from here: a sum of maps in half precision loses the small activations
            pair = merge_flip(_resize(straight.float(), size), _resize(mirrored.float(), size).flip(-1)).relu()
            if index < len(sums):
                sums[index] += pair
            else:
                sums.append(pair)
    return tuple(normalize_cam(cam) for cam in sums)
