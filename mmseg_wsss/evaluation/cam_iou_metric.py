"""CAM, auxiliary CAM and segmentation evaluated in one pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from .pixel_counts import PixelCounts, cam_counts, label_counts, nan_mean, rates

SWEEP = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)


@METRICS.register_module()
class CAMIoUMetric(BaseMetric):
    """IoU, precision, recall and error rates of CAMs at several background thresholds, and of the segmentation.

    What a sample carries is evaluated: ``cam`` and ``cam_aux`` (PixelData, (C, H, W) in [0, 1]) and ``pred_sem_seg``,
    each against ``gt_sem_seg``. The metrics, in percent, are ``{source}/{name}`` with source cam, cam_aux or seg:

    - ``mIoU``: mean IoU over the ``num_classes`` classes (background among them) that truth or prediction have anywhere
      in the data set; a class that both lack is left out instead of counting as 0 or 1.
      One that is only predicted counts as 0, as in published WeakTr; published ToCo's ``scores`` leaves it out.
    - ``precision`` = TP / (TP + FP) and ``recall`` = TP / (TP + FN), means over the classes where they are defined.
    - ``FP`` = FP / (TP + FP + FN), the over-activated share, and ``FN`` = FN / (TP + FP + FN), the missed share, means
      over the same classes as ``mIoU``: ``mIoU + FP + FN = 100``.
    - for CAMs all of these at ``threshold``, and ``best_mIoU`` with its ``best_threshold`` over ``sweep`` and
      ``threshold``.

    Pixels of the truth that are ``ignore_index`` are left out; pixels *predicted* 255 are errors. A table per class is
    logged. Every image leaves one small entry, so padded samples of an uneven split over processes are dropped exactly.

    Args:
        threshold: Background threshold at which the CAMs are reported (a maximum ``<= threshold`` is background).
        sweep: Further thresholds, for the best one.
        ignore_index: Segmentation id of the truth that is not evaluated.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Put before every key; none by default.
    """

    default_prefix = ''  # the source is in the key already; None would make BaseMetric warn

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        sweep: Sequence[float] = SWEEP,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.threshold = float(threshold)
        self.thresholds = sorted({self.threshold, *map(float, sweep)})
        if not all(0 <= t <= 1 for t in self.thresholds):
            raise ValueError(f'thresholds of a CAM in [0, 1] must lie in [0, 1], got {self.thresholds}')
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Raises:
            ValueError: a sample has no truth, or maps whose size or number of classes does not fit it.
        """
        for sample in data_samples:
            try:
                self.results.append(self._count(sample))
            except ValueError as error:
                raise ValueError(f'{sample.get("img_path", "a sample")}: {error}') from error

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum the counts over the images and turn them into the metrics of the class docstring."""
        metrics: dict[str, float] = {}
        for source in ('cam', 'cam_aux', 'seg'):
            entries = [result[source] for result in results if source in result]
            if not entries:
                continue
            if len(entries) < len(results):
                raise ValueError(f'only {len(entries)} of {len(results)} samples carry {source}; all or none must')
            per_class = rates(self._total(entries))
            thresholds = self.thresholds if source != 'seg' else None
            metrics.update({f'{source}/{key}': value for key, value in self._summary(per_class, thresholds).items()})
            self._log_table(source, per_class, thresholds)
        return metrics

    def _count(self, sample: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The entry of one image: per source the segmentation ids it has and their counts (3, T, n)."""
        if 'gt_sem_seg' not in sample:
            raise ValueError('there is no gt_sem_seg to evaluate against; add LoadAnnotations to the test pipeline')
        num_classes = len(self.dataset_meta['classes'])
        truth = sample['gt_sem_seg']['data'].squeeze(0)
        entry = {}
        for source in ('cam', 'cam_aux'):
            if source in sample:
                cam = sample[source]['data']
                self._check_shape(source, cam, (num_classes - 1, *truth.shape))
                thresholds = torch.tensor(self.thresholds)
                entry[source] = _pack(cam_counts(cam, truth.to(cam.device), thresholds, self.ignore_index))
        if 'pred_sem_seg' in sample:
            prediction = sample['pred_sem_seg']['data'].squeeze(0)
            self._check_shape('pred_sem_seg', prediction, truth.shape)
            truth = truth.to(prediction.device)
            entry['seg'] = _pack(label_counts(prediction, truth, num_classes, self.ignore_index))
        return entry

    @staticmethod
    def _check_shape(name: str, data: torch.Tensor, expected: Sequence[int]) -> None:
        if tuple(data.shape) != tuple(expected):
            raise ValueError(f'{name} is {tuple(data.shape)}, the truth and the classes ask for {tuple(expected)}')

    def _total(self, entries: list[tuple[np.ndarray, np.ndarray]]) -> PixelCounts:
        """Sum the entries of one source over the images."""
        total = np.zeros((*entries[0][1].shape[:2], len(self.dataset_meta['classes'])), dtype=np.int64)
        for ids, counts in entries:
            total[..., ids] += counts
        return PixelCounts(*total)

    def _summary(self, per_class: dict[str, np.ndarray], thresholds: list[float] | None) -> dict[str, float]:
        """Means over the classes at the reported threshold, and the best threshold where there are several."""
        row = thresholds.index(self.threshold) if thresholds else 0
        summary = {('mIoU' if name == 'IoU' else name): nan_mean(values[row]) for name, values in per_class.items()}
        summary['num_classes'] = int(np.isfinite(per_class['IoU'][row]).sum())
        if thresholds:
            means = np.array([nan_mean(values) for values in per_class['IoU']])
            best = int(np.nan_to_num(means, nan=-1).argmax())
            summary['best_mIoU'] = float(means[best])
            summary['best_threshold'] = thresholds[best]
        return summary

    def _log_table(self, source: str, per_class: dict[str, np.ndarray], thresholds: list[float] | None) -> None:
        """Log the rates per class as mmseg's IoUMetric does."""
        row = thresholds.index(self.threshold) if thresholds else 0
        table = PrettyTable()
        table.add_column('Class', list(self.dataset_meta['classes']))
        for name, values in per_class.items():
            table.add_column(name, [f'{value:.2f}' for value in values[row]])
        at = f' at threshold {self.threshold:g}' if thresholds else ''
        print_log(f'per class results of {source}{at}:\n{table.get_string()}', MMLogger.get_current_instance())


def _pack(counts: PixelCounts) -> tuple[np.ndarray, np.ndarray]:
    """Keep the classes an image has: a few hundred bytes, where all classes and thresholds of COCO would be 20 kB."""
    stacked = np.stack(counts)
    ids = np.flatnonzero(stacked.any(axis=(0, 1)))
    return ids, stacked[..., ids]
