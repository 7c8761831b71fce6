"""The background threshold with the best mIoU on a labelled subset."""

from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size

from ..evaluation.pixel_counts import THRESHOLDS, PixelCounts, best_threshold, cam_counts
from ..progress import progress_bar
from .images import ImageList, Unreadable
from .scores import Scorer


def sweep_threshold(images: ImageList, scorer: Scorer, *, num_workers: int = 0) -> dict[str, Any]:
    """Compare the thresholds 0.01, 0.02 .. 0.99 on images with masks, each process its share of them.

    The CAMs are masked by image-level labels where the scorer does so, and not refined, as in WeakTr's sweep,
    except by the scorer's affinity.

    Args:
        images: Images whose samples carry ``gt_sem_seg``.
        scorer: With source ``'cam'``.
        num_workers: Processes that read ahead.

    Returns:
        ``threshold``, the best one (the lowest of equals), its ``mIoU`` in percent, the number of ``images``, those
        ``skipped`` with the reason, and ``table``, the mIoU by threshold.

    Raises:
        ValueError: no image could be used, or a mask does not fit.
    """
    mine = range(get_rank(), len(images), get_world_size())
    thresholds = torch.tensor(THRESHOLDS)
    total, used, skipped = np.zeros((), np.int64), 0, []
    for _, item in progress_bar(images.load(mine, num_workers), text='sweep', total=len(mine)):
        if isinstance(item, Unreadable):
            skipped.append(item)
        else:
            total = total + _count(item, scorer, thresholds)
            used += 1
    shares = all_gather_object((total, used, skipped))
    used, skipped = sum(share[1] for share in shares), [one for share in shares for one in share[2]]
    if not used:
        raise ValueError('the sweep found no readable image')
    counts = PixelCounts(*sum(share[0] for share in shares))
    best, means = best_threshold(counts)
    return {
        'threshold': THRESHOLDS[best],
        'mIoU': round(float(means[best]), 4),
        'images': used,
        'skipped': [one._asdict() for one in skipped],
        'table': {f'{threshold:.2f}': round(float(mean), 4) for threshold, mean in zip(THRESHOLDS, means, strict=True)},
    }


def _count(item: dict, scorer: Scorer, thresholds: torch.Tensor) -> np.ndarray:
    """Pixel counts (3, T, N) of one image."""
    cam, tags, sample = scorer.maps(item)
    if 'gt_sem_seg' not in sample:
        raise ValueError(f'{sample.img_path} has no mask for the sweep: the test pipeline needs LoadMask')
    if scorer.mask_by_labels:
        cam = cam * tags[:, None, None].to(cam)
    ground_truth = sample.gt_sem_seg.data.squeeze(0).to(cam.device)
    if ground_truth.shape != cam.shape[1:]:
        raise ValueError(
            f'{sample.img_path} has CAMs of {tuple(cam.shape[1:])}, its mask is {tuple(ground_truth.shape)}'
        )
    try:
        return np.stack(cam_counts(cam, ground_truth, thresholds))
    except ValueError as error:
        raise ValueError(f'{sample.img_path}: {error}') from error
