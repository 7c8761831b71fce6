"""Predictions written as palette PNG files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from PIL import Image

from ..datasets.palette import voc_palette


def write_mask(path: str | Path, mask: np.ndarray, palette: Sequence[Sequence[int]] = ()) -> None:
    """Write segmentation ids as a palette PNG, complete or not at all.

    Args:
        path: File to write; its folder is made.
        mask: (H, W) ids 0..255.
        palette: RGB in 0..255 of the first ids; the others get PASCAL VOC's colours.

    Raises:
        ValueError: the mask has ids outside 0..255.
    """
    path = Path(path)
    if mask.size and not 0 <= mask.min() <= mask.max() <= 255:
        raise ValueError(f'{path}: a palette PNG holds the ids 0..255, got {mask.min()}..{mask.max()}')
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))  # mode L; a palette makes it P
    colours = [*map(list, palette), *voc_palette(256)[len(palette) :]]
    image.putpalette([value for colour in colours[:256] for value in colour])
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        image.save(temporary, format='PNG')
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@METRICS.register_module()
class MaskWriter(BaseMetric):
    """Write ``pred_sem_seg`` of every sample to ``out_dir/{stem of the image}.png``; measures nothing.

    The difference to ``IoUMetric(output_dir=...)`` is the palette of the data set, whole files only, and that two
    images of one name are refused instead of overwriting each other.

    Args:
        out_dir: Folder of the masks.
    """

    default_prefix = ''

    def __init__(self, *, out_dir: str) -> None:
        super().__init__()
        self.out_dir = Path(out_dir)
        self._written: dict[str, str] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the masks of a batch."""
        for sample in data_samples:
            path = sample['img_path']
            stem = Path(path).stem
            if self._written.setdefault(stem, path) != path:
                raise ValueError(f'{path} and {self._written[stem]} would both become {self.out_dir / stem}.png')
            mask = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy()
            write_mask(self.out_dir / f'{stem}.png', mask, self.dataset_meta.get('palette') or ())
            self.results.append(None)

    def compute_metrics(self, results: list) -> dict:
        """Nothing is measured."""
        return {}
