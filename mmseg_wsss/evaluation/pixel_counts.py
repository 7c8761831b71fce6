"""Pixels counted per class, and the rates that follow from them; pure functions without a registry."""

from typing import NamedTuple

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

# Background thresholds among which the best one is selected.
THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))


class PixelCounts(NamedTuple):
    """Pixels per threshold and class, int64 (T, N); label maps have T = 1.

    ``hit`` counts the pixels where prediction and ground truth agree, ``predicted`` and ``ground_truth`` the area of
    the class in each.
    """

    hit: np.ndarray
    predicted: np.ndarray
    ground_truth: np.ndarray


def cam_counts(cam: Tensor, ground_truth: Tensor, thresholds: Tensor, ignore_index: int = 255) -> PixelCounts:
    """Count a CAM at several background thresholds with one histogram.

    A pixel whose maximum over the classes is ``<= threshold`` is background, else the class of the maximum.

    Args:
        cam: (C, H, W) foreground class activations.
        ground_truth: (H, W) segmentation ids 0..C; pixels of ``ignore_index`` are left out.
        thresholds: (T,) ascending.
        ignore_index: Segmentation id that is not evaluated.

    Returns:
        Counts over the N = C + 1 segmentation ids.

    Raises:
        ValueError: a ground truth id is neither 0..C nor ``ignore_index``.
    """
    num_classes = cam.shape[0]
    area = _ground_truth_area(ground_truth, num_classes + 1, ignore_index)
    keep = ground_truth != ignore_index
    value, index = cam.float().max(dim=0)
    value, index, ground_truth = value[keep], index[keep], ground_truth[keep].long()
    # How many thresholds lie strictly below the value: the pixel is foreground at exactly these.
    level = torch.searchsorted(thresholds.to(value), value.contiguous())
    relation = torch.where(
        ground_truth == index + 1, 1, torch.where(ground_truth == 0, 0, 2)
    )  # right class, background, other class
    levels = len(thresholds) + 1
    code = (relation * num_classes + index) * levels + level
    histogram = torch.bincount(code, minlength=3 * num_classes * levels).view(3, num_classes, levels).cpu().numpy()
    background = histogram.sum(axis=1).cumsum(axis=-1)[:, :-1]  # (3, T) pixels at or below each threshold
    foreground = histogram[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]  # (3, C, T) pixels above each threshold
    hit = np.concatenate([background[:1], foreground[1]]).T
    predicted = np.concatenate([background.sum(axis=0)[None], foreground.sum(axis=0)]).T
    return PixelCounts(hit, predicted, np.broadcast_to(area, hit.shape))


def label_counts(prediction: Tensor, ground_truth: Tensor, num_classes: int, ignore_index: int = 255) -> PixelCounts:
    """Count a label map with mmseg's ``IoUMetric``, which is exact for up to 2^24 pixels of a class.

    Args:
        prediction: (H, W) segmentation ids; any id outside 0..N-1 (255 for "uncertain") is an error at its pixel.
        ground_truth: (H, W) segmentation ids 0..N-1; pixels of ``ignore_index`` are left out.
        num_classes: N, background included.
        ignore_index: Segmentation id of the ground truth that is not evaluated.

    Returns:
        Counts with T = 1.

    Raises:
        ValueError: a ground truth id is neither 0..N-1 nor ``ignore_index``.
    """
    area = _ground_truth_area(ground_truth, num_classes, ignore_index)
    # on the CPU: a GPU has no deterministic histogram
    counts = IoUMetric.intersect_and_union(prediction.cpu(), ground_truth.cpu(), num_classes, ignore_index)
    hit, _, predicted, _ = (count.long().numpy()[None] for count in counts)
    return PixelCounts(hit, predicted, area[None])


def rates(counts: PixelCounts) -> dict[str, np.ndarray]:
    """Per-class rates (T, N) in percent; NaN where the denominator is 0.

    - ``IoU`` = TP / (TP + FP + FN), ``FP`` = FP / (TP + FP + FN), ``FN`` = FN / (TP + FP + FN): they sum to 100 and are
      NaN for a class that neither ground truth nor prediction has.
    - ``precision`` = TP / (TP + FP), NaN for a class that is never predicted.
    - ``recall`` = TP / (TP + FN), NaN for a class that the ground truth never has.
    """
    union = counts.predicted + counts.ground_truth - counts.hit
    with np.errstate(invalid='ignore'):  # 0 / 0 gives the intended NaN; no other number is divided by 0
        return {
            'IoU': 100 * counts.hit / union,
            'precision': 100 * counts.hit / counts.predicted,
            'recall': 100 * counts.hit / counts.ground_truth,
            'FP': 100 * (counts.predicted - counts.hit) / union,
            'FN': 100 * (counts.ground_truth - counts.hit) / union,
        }


def best_threshold(counts: PixelCounts) -> tuple[int, np.ndarray]:
    """The row (of T) with the best mean IoU, the first of equals, and the mean IoU of every row, in percent."""
    means = np.array([nan_mean(row) for row in rates(counts)['IoU']])
    return int(np.nan_to_num(means, nan=-1).argmax()), means


def nan_mean(values: np.ndarray) -> float:
    """Mean of the numbers that are not NaN; NaN, without numpy's warning, where there is none."""
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else float('nan')


def _ground_truth_area(ground_truth: Tensor, num_classes: int, ignore_index: int) -> np.ndarray:
    """Pixels of the ground truth per segmentation id, (N,)."""
    area = torch.bincount(ground_truth.flatten().long(), minlength=num_classes).cpu().numpy()
    outside = [int(i) for i in np.flatnonzero(area[num_classes:]) + num_classes if i != ignore_index]
    if outside:
        raise ValueError(
            f'the ground truth has the ids {outside}, but there are only {num_classes} classes (0..{num_classes - 1}) '
            f'and {ignore_index} to ignore'
        )
    return area[:num_classes]
