"""All CAMs of a method and its segmentation evaluated in one pass."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from ..pixel_counts import THRESHOLDS, PixelCounts, best_threshold, cam_counts, label_counts, nan_mean, rates


@METRICS.register_module()
class CAMIoUMetric(BaseMetric):
    """IoU, precision, recall and error rates of CAMs at several background thresholds, and of the segmentation.

    What a sample carries is evaluated against its ``gt_sem_seg``: the CAMs that ``cam_names`` lists (PixelData,
    (C, H, W) in [0, 1], see ``CAMSegmentor``) and ``pred_sem_seg``. The metrics, in percent, are ``{source}/{name}``,
    the source being the name of a CAM or seg:

    - ``mIoU``: mean IoU over those of the ``num_classes`` classes (background included) that occur in the ground truth
      or in the predictions of the data set; a class that occurs in neither is left out instead of counting as 0 or 1.
      One that is only predicted counts as 0, as in published WeakTr; published ToCo's ``scores`` leaves it out.
    - ``precision`` = TP / (TP + FP) and ``recall`` = TP / (TP + FN), means over the classes where they are defined.
    - ``FP`` = FP / (TP + FP + FN), the over-activated share, and ``FN`` = FN / (TP + FP + FN), the missed share, means
      over the same classes as ``mIoU``: ``mIoU + FP + FN = 100``.
    - for CAMs all of these at the method's ``background_threshold``, and the best of 0.01, 0.02 .. 0.99 and that one:
      ``best_mIoU``, ``best_precision``, ``best_recall``, ``best_threshold``.
    - ``images``: how many were evaluated, and ``images_without_ground_truth``: how many of these have no pixel to
      evaluate, because their mask is ``ignore_index`` everywhere; a warning reports them.

    Pixels of the ground truth that are ``ignore_index`` are left out; pixels *predicted* 255 are errors. A table per
    class is logged; its IoU is kept as ``class_iou``, source -> class -> percent, or NaN. Every image adds one small
    entry, so that the duplicates of an uneven split over processes can be dropped exactly.

    Args:
        ignore_index: Segmentation id of the ground truth that is not evaluated.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Put before every key; none by default.
    """

    default_prefix = ''  # the key already has the source; None would make BaseMetric warn

    def __init__(self, *, ignore_index: int = 255, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index
        self.class_iou: dict[str, dict[str, float]] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Raises:
            ValueError: a sample has no ground truth, or its maps have another size or number of classes.
        """
        for sample in data_samples:
            try:
                self.results.append(self._count(sample))
            except ValueError as error:
                raise ValueError(f'{sample.get("img_path", "a sample")}: {error}') from error

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum the counts over the images and turn them into the metrics of the class docstring."""
        metrics: dict[str, float] = {}
        # the method's own CAM first, the segmentation last
        for source in dict.fromkeys(name for result in results for name in result['counts']):
            entries = [result['counts'][source] for result in results if source in result['counts']]
            if len(entries) < len(results):
                raise ValueError(f'only {len(entries)} of {len(results)} samples carry {source}; all or none must')
            counts = self._total(entries)
            thresholds = None if source == 'seg' else _thresholds(results[0]['threshold'])
            row = thresholds.index(results[0]['threshold']) if thresholds else 0
            summary = _summary(counts, thresholds, row)
            empty = sum(not ids.size for ids, _ in entries)  # the same for every source
            summary |= dict(images=len(entries), images_without_ground_truth=empty)
            metrics.update({f'{source}/{key}': value for key, value in summary.items()})
            at, per_class = f' at threshold {results[0]["threshold"]:g}' if thresholds else '', rates(counts)
            self._log_table(f'{source}{at}, {len(entries)} images', per_class, row)
            ious = per_class['IoU'][row].tolist()
            self.class_iou[source] = dict(zip(self.dataset_meta['classes'], ious, strict=True))
        if metrics and empty:
            text = f'{empty} of {len(results)} images have no pixel to evaluate: their masks are {self.ignore_index}'
            print_log(f'{text} everywhere', MMLogger.get_current_instance(), logging.WARNING)
        return metrics

    def _count(self, sample: dict) -> dict[str, Any]:
        """One image: the threshold of its CAMs, and per source the segmentation ids that occur and counts (3, T, n)."""
        if 'gt_sem_seg' not in sample:
            raise ValueError('there is no gt_sem_seg to evaluate against; add LoadAnnotations to the test pipeline')
        num_classes = len(self.dataset_meta['classes'])
        ground_truth = sample['gt_sem_seg']['data'].squeeze(0)
        threshold, counts = sample.get('background_threshold'), {}
        for source in sample.get('cam_names', ()):
            cam = sample[source]['data']
            self._check_shape(source, cam, (num_classes - 1, *ground_truth.shape))
            levels = torch.tensor(_thresholds(threshold))
            counts[source] = _pack(cam_counts(cam, ground_truth.to(cam.device), levels, self.ignore_index))
        if 'pred_sem_seg' in sample:
            prediction = sample['pred_sem_seg']['data'].squeeze(0)
            self._check_shape('pred_sem_seg', prediction, ground_truth.shape)
            ground_truth = ground_truth.to(prediction.device)
            counts['seg'] = _pack(label_counts(prediction, ground_truth, num_classes, self.ignore_index))
        return dict(threshold=threshold, counts=counts)

    @staticmethod
    def _check_shape(name: str, data: torch.Tensor, expected: Sequence[int]) -> None:
        if tuple(data.shape) != tuple(expected):
            raise ValueError(f'{name} is {tuple(data.shape)}, but ground truth and classes need {tuple(expected)}')

    def _total(self, entries: list[tuple[np.ndarray, np.ndarray]]) -> PixelCounts:
        """Sum the entries of one source over the images."""
        total = np.zeros((*entries[0][1].shape[:2], len(self.dataset_meta['classes'])), dtype=np.int64)
        for ids, counts in entries:
            total[..., ids] += counts
        return PixelCounts(*total)

    def _log_table(self, title: str, per_class: dict[str, np.ndarray], row: int) -> None:
        """Log the rates per class as mmseg's IoUMetric does."""
        table = PrettyTable()
        table.add_column('Class', list(self.dataset_meta['classes']))
        for name, values in per_class.items():
            table.add_column(name, [f'{value:.2f}' for value in values[row]])
        print_log(f'per class results of {title}:\n{table.get_string()}', MMLogger.get_current_instance())


def _thresholds(own: float) -> list[float]:
    """The compared thresholds, including the method's own."""
    return sorted({own, *THRESHOLDS})


def _summary(counts: PixelCounts, thresholds: list[float] | None, row: int) -> dict[str, float]:
    """Means over the classes at the method's threshold, and at the best one where there are several."""
    per_class = rates(counts)
    summary = {('mIoU' if name == 'IoU' else name): nan_mean(values[row]) for name, values in per_class.items()}
    summary['num_classes'] = int(np.isfinite(per_class['IoU'][row]).sum())
    if thresholds:
        best, means = best_threshold(counts)
        summary |= {f'best_{name}': nan_mean(per_class[name][best]) for name in ('precision', 'recall')}
        summary |= dict(best_mIoU=float(means[best]), best_threshold=thresholds[best])
    return summary


def _pack(counts: PixelCounts) -> tuple[np.ndarray, np.ndarray]:
    """Keep the classes of an image only: a few kilobytes instead of 100 for all classes of COCO."""
    stacked = np.stack(counts).astype(np.int32)
    ids = np.flatnonzero(stacked.any(axis=(0, 1)))
    return ids, stacked[..., ids]
