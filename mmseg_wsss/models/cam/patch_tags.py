"""Class tags of images and of patches cut out of them (SeCo, https://arxiv.org/abs/2402.18467)."""

import torch
from torch import Tensor

from ...constants import BACKGROUND, IGNORE
from .local_crops import cut_crops

MIXED = -1  # several classes, or none that is certain


def patch_tags(
    region: Tensor, corners: Tensor, size: int, *, threshold: float = 0.2, as_published: bool = False
) -> tuple[Tensor, Tensor]:
    """Which one class an image and each of its patches show.

    The tag of an image is the only class that is certain somewhere in it. In such an image uncertain pixels count as
    that class. A patch is background (0) unless more than ``threshold`` of its pixels are uncertain or of a class; its
    tag is then the only class in it. What shows several classes, or none for certain, is ``MIXED`` (-1).

    Args:
        region: long (B, H, W): 0, class ids 1..C, and 255 where it is uncertain; 0 in the padding.
        corners: top left pixels of the patches, long (B, num, 2).
        size: side of a patch in pixels.
        threshold: published value 0.2.
        as_published: a pixel of class k counts k times in the share of a patch, and an image without any certain class
            has the tag 1, the first class.

    Returns:
        tags of the images, long (B,), and of the patches, long (B, num).
    """
    unsure = region == IGNORE
    certain = torch.where(unsure, BACKGROUND, region)
    whole = _only_class(certain.flatten(1))  # (B,)
    filled = torch.where(unsure & (whole > 0)[:, None, None], whole[:, None, None], certain)
    only = _only_class(cut_crops(filled, corners, size).flatten(2))  # (B, num)
    occupied = torch.where(unsure, 1, region if as_published else region.clamp(max=1))
    share = cut_crops(occupied, corners, size).float().mean(dim=(-2, -1))
    tags = torch.where(share > threshold, torch.where(only > 0, only, MIXED), BACKGROUND)
    return torch.where(whole == BACKGROUND, 1 if as_published else MIXED, whole), tags


def _only_class(ids: Tensor) -> Tensor:
    """The only positive id among (..., n); 0 where there is none, ``MIXED`` where there are several."""
    largest = ids.amax(dim=-1)
    smallest = torch.where(ids > 0, ids, largest[..., None]).amin(dim=-1)
    return torch.where(smallest == largest, largest, MIXED)
