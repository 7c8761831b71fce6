"""From the scores of an image to its files; runs in the worker processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmseg.registry import MODELS

from ..datasets.mask_files import write_mask
from ..models.refiners import refined_label, unit_image
from .images import Unreadable
from .soft import write_soft_scores


class MaskTask(NamedTuple):
    """One image to be written: segmentation ``ids`` (P,) uint8 and their ``scores`` (P, H, W) float32."""

    img_path: str
    mask: Path
    soft: Path | None
    ids: np.ndarray
    scores: np.ndarray


class MaskTaskWriter:
    """Refine, take the class with the highest score at every pixel (the first of equals), write.

    Args:
        palette: RGB of the segmentation ids.
        refiner: Config of a refiner; None for none.
    """

    def __init__(self, *, palette: Sequence[Sequence[int]] = (), refiner: dict | None = None) -> None:
        self.palette = palette
        self.refiner = None if refiner is None else MODELS.build(refiner)

    def __call__(self, task: MaskTask) -> Unreadable | None:
        """Write the files of an image, the mask last: if it exists, so do the others.

        Returns:
            What is wrong if the refiner cannot read the image; nothing is written then.
        """
        image = None
        if self.refiner is not None:
            try:
                image = unit_image(task.img_path, task.scores.shape[-2:])
            except (OSError, ValueError) as error:
                return Unreadable(task.img_path, str(error))
        ids, scores = map(torch.from_numpy, (task.ids, task.scores))
        label, scores = refined_label(ids, scores, refiner=self.refiner, image=image)
        if task.soft is not None:
            write_soft_scores(task.soft, task.ids, scores.numpy())
        write_mask(task.mask, label.numpy(), self.palette)
        return None
