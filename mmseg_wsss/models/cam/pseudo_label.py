"""From CAMs to labels: thresholds, token relations, refined pseudo-labels (ToCo, https://arxiv.org/abs/2303.01267)."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...constants import BACKGROUND, IGNORE


def valid_mask(boxes: Sequence[Sequence[int]], size: Sequence[int], device: torch.device) -> Tensor:
    """Which pixels of a batch of crops show the image and not padding.

    Args:
        boxes: per image (h0, h1, w0, w1), half open.
        size: (H, W).
        device: where the mask goes.

    Returns:
        bool (B, H, W).
    """
    box = torch.as_tensor(boxes).to(device, non_blocking=True)[:, :, None]  # (B, 4, 1)
    rows = torch.arange(size[0], device=device)
    cols = torch.arange(size[1], device=device)
    inside_rows = (rows >= box[:, 0]) & (rows < box[:, 1])  # (B, H)
    inside_cols = (cols >= box[:, 2]) & (cols < box[:, 3])  # (B, W)
    return inside_rows[:, :, None] & inside_cols[:, None, :]


def cam_to_label(cam: Tensor, *, low: float, high: float | Tensor, valid: Tensor | None = None) -> Tensor:
    """Threshold CAMs into labels (ToCo section 4.2).

    Args:
        cam: (B, C, h, w) in [0, 1], already multiplied by the image-level labels.
        low: a class maximum <= low is background.
        high: a class maximum > high is foreground; what lies between is uncertain (255). ``low == high`` leaves none.
            One number, or one per image (B,).
        valid: bool (B, h, w); outside it everything is 255.

    Returns:
        long (B, h, w) with 0, 1..C and 255.
    """
    score, index = cam.max(dim=1)
    label = torch.where(score > _per_image(high), index + 1, IGNORE)
    label = torch.where(score <= low, BACKGROUND, label)
    return label if valid is None else torch.where(valid, label, IGNORE)


def falling_threshold(step: int, *, start: float, end: Tensor, length: int) -> Tensor:
    """Upper thresholds of the classes: cosine from ``start`` in step 0 to ``end`` (C,) in step ``length - 1``.

    They are constant before and after (DuPL, https://arxiv.org/abs/2403.11184).
    """
    progress = min(max(step, 0), length - 1) / (length - 1)
    return start + (end - start) * (0.5 - 0.5 * math.cos(math.pi * progress))


def _per_image(threshold: float | Tensor) -> float | Tensor:
    """One threshold per image (B,) in the shape of its maps; one number stays as it is."""
    return threshold[:, None, None] if isinstance(threshold, Tensor) else threshold


def pair_relation(label: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of tokens share a label (ToCo section 4.2).

    Args:
        label: token labels (B, h, w) with 255 = unreliable.

    Returns:
        ``positive``, ``negative``: bool (B, h*w, h*w); a pair that touches 255, and the diagonal, is in neither.
    """
    flat = label.flatten(1)
    reliable = flat != IGNORE
    known = reliable[:, :, None] & reliable[:, None, :]
    same = flat[:, :, None] == flat[:, None, :]
    diagonal = torch.eye(flat.shape[1], dtype=torch.bool, device=label.device)
    return known & same & ~diagonal, known & ~same & ~diagonal


def refined_label(
    cam: Tensor,
    images: Tensor,
    scores: Tensor,
    refiner: Callable[[Tensor, Tensor], Tensor],
    *,
    low: float,
    high: float | Tensor,
    valid: Tensor,
) -> Tensor:
    """Pseudo-labels of the segmentation branch (ToCo section 4.4).

    The CAMs get a constant background channel, once ``high`` and once ``low``; then follow a softmax over background
    and present classes, refinement with the image at half resolution, and arg-max. A pixel is foreground if a class
    exceeds even the high background, background if the low background exceeds all classes, and uncertain otherwise.

    Args:
        cam: (B, C, H, W) in [0, 1], multiplied by the image-level labels.
        images: (B, 3, H, W) in [0, 1].
        scores: image-level labels (B, C).
        refiner: images, scores -> scores.
        low, high: background thresholds; ``high`` may be one per image (B,).
        valid: bool (B, H, W); outside it the label is 255.

    Returns:
        long (B, H, W) with 0, 1..C and 255.
    """
    height, width = cam.shape[-2:]
    half = (height // 2, width // 2)
    small_cam = F.interpolate(cam, size=half, mode='bilinear', align_corners=False)
    small_images = F.interpolate(images, size=half, mode='bilinear', align_corners=False)
    absent = F.pad(scores == 0, (1, 0))[:, :, None, None]  # background is always present
    # both thresholds in one batch: (2B, C + 1, h, w)
    backgrounds = [torch.zeros_like(small_cam[:, 0]) + _per_image(threshold) for threshold in (high, low)]
    stacked = torch.cat([torch.cat((background[:, None], small_cam), dim=1) for background in backgrounds])
    probability = stacked.masked_fill(absent.repeat(2, 1, 1, 1), float('-inf')).softmax(dim=1)
    refined = refiner(small_images, probability)
    full = F.interpolate(refined, size=(height, width), mode='bilinear', align_corners=False)
    with_high, with_low = full.argmax(dim=1).chunk(2)
    label = torch.where(with_high > 0, with_high, IGNORE)
    label = torch.where((with_high == 0) & (with_low == 0), BACKGROUND, label)
    return torch.where(valid, label, IGNORE)
