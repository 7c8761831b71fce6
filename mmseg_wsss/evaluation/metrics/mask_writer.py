"""Predictions written as palette PNG files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from ...datasets.label_map import LABEL_MAP, write_label_map
from ...datasets.mask_files import write_mask
from ...datasets.palette import voc_palette


def mask_path(img_path: str, out_dir: str | Path, img_root: str | None = None) -> Path:
    """The file of the mask of an image; links are not followed, so that the listed path of the image counts.

    Args:
        img_path: The image.
        out_dir: Folder of the masks.
        img_root: Folder of the images: ``img_root/a/1.jpg`` becomes ``out_dir/a/1.png``. By default ``out_dir/1.png``.

    Raises:
        ValueError: the image is not below ``img_root``.
    """
    out_dir = Path(out_dir)
    if img_root is None:
        return out_dir / f'{Path(img_path).stem}.png'
    relative = Path(os.path.relpath(img_path, img_root))
    if relative.parts[:1] in ((), ('..',)):
        raise ValueError(f'{img_path} is not below img_root {img_root}, so its mask cannot be put into {out_dir}')
    return out_dir / relative.with_suffix('.png')


@METRICS.register_module()
class MaskWriter(BaseMetric):
    """Write ``pred_sem_seg`` of every sample as a PNG named like its image, and ``labelmap.txt``; computes no metric.

    The differences from ``IoUMetric(output_dir=...)``: the palette of the data set, complete files only, sub-folders,
    and an error for two images of one name instead of overwriting a file.

    Args:
        out_dir: Folder of the masks.
        img_root: Folder of the images: ``img_root/a/1.jpg`` becomes ``out_dir/a/1.png``. By default ``out_dir/1.png``.

    Raises:
        ValueError: two images would be written to one file, or one is not below ``img_root``.
    """

    default_prefix = ''

    def __init__(self, *, out_dir: str, img_root: str | None = None) -> None:
        super().__init__()
        self.out_dir = Path(out_dir)
        self.img_root = img_root
        self._written: dict[Path, str] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the masks of a batch."""
        for sample in data_samples:
            path = sample['img_path']
            target = mask_path(path, self.out_dir, self.img_root)
            if self._written.setdefault(target, path) != path:
                hint = '; images in sub-folders need img_root, the folder above them' if self.img_root is None else ''
                raise ValueError(f'{path} and {self._written[target]} would both be written to {target}{hint}')
            mask = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy()
            write_mask(target, mask, self.dataset_meta.get('palette') or ())
            self.results.append(None)

    def compute_metrics(self, results: list) -> dict:
        """Nothing is measured; with the last mask the names of the ids are written, for who reads the masks."""
        classes = self.dataset_meta['classes']
        write_label_map(
            self.out_dir / LABEL_MAP, classes, self.dataset_meta.get('palette') or voc_palette(len(classes))
        )
        return {}
