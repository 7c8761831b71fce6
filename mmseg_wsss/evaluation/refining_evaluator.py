"""Refine predictions in worker processes before they are evaluated."""

import sys
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import EVALUATOR, MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..cores import usable_cores
from ..models.refiners import importable, on_cpu, refined_label, unit_image
from ..structures import class_probabilities
from ..worker_pool import WorkerPool


class RefineTask(NamedTuple):
    """One image; its classes, as ids (P,), and their probabilities (P, H, W), as float32 arrays or as tensors."""

    img_path: str
    ids: np.ndarray | Tensor
    scores: np.ndarray | Tensor


class LabelRefiner:
    """Refine probabilities with the image and take the most probable class (the first of equals).

    Args:
        refiner: Config of a refiner.
    """

    def __init__(self, *, refiner: dict) -> None:
        self.refiner = MODELS.build(refiner)

    def __call__(self, task: RefineTask) -> np.ndarray:
        """The ids (H, W)."""
        ids, scores = map(torch.as_tensor, (task.ids, task.scores))
        image = unit_image(task.img_path, scores.shape[-2:])
        return refined_label(ids, scores, refiner=self.refiner, image=image)[0].cpu().numpy()


@EVALUATOR.register_module()
class RefiningEvaluator(Evaluator):
    """Refines the softmax of ``seg_logits`` in worker processes and evaluates the result.

    The network continues meanwhile. The metrics get the refined samples in order, with a new ``pred_sem_seg`` and
    without ``seg_logits``, so numbers and files are those of ``workers=0``. A few images per worker are kept in memory.
    Hooks see the unrefined outputs of the network. After an error, unfinished work is dropped.

    Args:
        metrics: As in mmengine's ``Evaluator``.
        refiner: ``forward(images, probabilities)``, for example ``dict(type='DenseCRF')``, with the original image
            read from ``img_path``. If it has ``present(scores)``, absent classes are left out before.
        workers: Processes that refine. 0 refines in this process on the device of the network, which is best for a
            refiner that runs on a GPU. By default one per core if the refiner runs ``on_cpu`` only, else 0.
    """

    def __init__(self, metrics: Any, *, refiner: dict, workers: int | None = None) -> None:
        super().__init__(metrics)
        built = MODELS.build(refiner)
        if workers is None:
            workers = usable_cores() if on_cpu(built) else 0
        self.workers = workers
        self.refiner = importable(refiner)
        self._present = getattr(built, 'present', lambda scores: scores.new_ones(len(scores), dtype=torch.bool))
        self._pool: WorkerPool | None = None
        self._batches: deque[tuple[Sequence[SegDataSample], Any]] = deque()
        self._labels: list[np.ndarray] = []  # of the first batch, as far as they are there

    def process(self, data_samples: Sequence[SegDataSample], data_batch: Any = None) -> None:
        """Submit a batch; batches that are already refined are passed to the metrics.

        Raises:
            ValueError: a sample has no ``seg_logits``, only one channel, values that are not finite, or another size
                than its image.
            WorkerDiedError: a worker process died.
        """
        try:
            self._hand_over(data_samples, data_batch)
        except BaseException:
            self._reset(*sys.exc_info())
            raise

    def evaluate(self, size: int) -> dict:
        """Wait for the unfinished images, then evaluate the metrics.

        Raises:
            WorkerDiedError: a worker process died.
        """
        try:
            if self._pool is not None:
                self._pass_on(self._pool.results())
        except BaseException:
            self._reset(*sys.exc_info())
            raise
        self._reset()
        return super().evaluate(size)

    def _hand_over(self, data_samples: Sequence[SegDataSample], data_batch: Any) -> None:
        """One batch to the workers."""
        if self._pool is None:
            self._pool = WorkerPool(partial(LabelRefiner, refiner=self.refiner), workers=self.workers)
        samples = [sample.new() for sample in data_samples]  # the same tensors in other samples: hooks see the caller's
        self._batches.append((samples, data_batch))
        for sample in samples:
            scores = class_probabilities(sample)
            del sample.seg_logits
            ids = torch.nonzero(self._present(scores))[:, 0]
            scores = scores[ids]
            if self.workers:  # tensors would be sent through shared memory, which is small in containers
                ids, scores = ids.short().cpu().numpy(), scores.cpu().numpy()
            self._pass_on(self._pool.results(RefineTask(sample.img_path, ids, scores)))

    def _reset(self, *error: object) -> None:
        """End the workers and drop unfinished work."""
        pool, self._pool, self._labels = self._pool, None, []
        self._batches.clear()
        if pool is not None:
            pool.__exit__(*(error or (None, None, None)))

    def _pass_on(self, labels: Iterable[np.ndarray]) -> None:
        """Pass refined batches to the metrics; labels arrive in the order of the samples."""
        for label in labels:
            samples, data_batch = self._batches[0]
            self._labels.append(label)
            if len(self._labels) < len(samples):
                continue
            for sample, found in zip(samples, self._labels, strict=True):
                device = sample.pred_sem_seg.data.device
                sample.pred_sem_seg = PixelData(data=torch.from_numpy(found).to(device).long()[None])
            self._batches.popleft()
            self._labels = []
            super().process(samples, data_batch)
