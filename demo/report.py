"""The demo's table: the methods side by side, from the JSON files that ``tools/test.py`` leaves."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import torch
from mmengine.config import Config

TITLES = {'classifier': 'classifier', 'toco': 'ToCo', 'toco_reg': 'ToCo + dense energy'}
ROWS = (
    ('CAM, threshold {threshold}', 'test', 'cam/mIoU'),
    ('CAM, best threshold', 'test', 'cam/best_mIoU'),
    ('aux CAM, threshold {threshold}', 'test', 'cam_aux/mIoU'),
    ('aux CAM, best threshold', 'test', 'cam_aux/best_mIoU'),
    ('segmentation, single scale', 'test', 'seg/mIoU'),
    ('segmentation, multi-scale + CRF', 'test_tta_crf', 'seg/mIoU'),
)


def table(numbers: dict[str, dict[str, dict]], threshold: float) -> str:
    """A markdown table of mIoU.

    Args:
        numbers: method -> test (file stem) -> metrics of ``CAMIoUMetric``.
        threshold: the fixed background threshold of the CAMs.
    """
    lines = [f'| mIoU in % | {" | ".join(TITLES[method] for method in numbers)} |', '|---' * (len(numbers) + 1) + '|']
    for title, test, key in ROWS:
        cells = []
        for method, tests in numbers.items():
            metrics = tests[test]
            # The baseline's decoder was never trained: its segmentation is no result.
            value = None if method == 'classifier' and key.startswith('seg') else metrics.get(key)
            best = metrics.get(key.replace('best_mIoU', 'best_threshold')) if 'best' in key else None
            cells.append('-' if value is None else f'{value:.1f}' + (f' (at {best:.2f})' if best is not None else ''))
        lines.append(f'| {title.format(threshold=threshold)} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def write(out: Path, configs: dict[str, Path], *, seed: int, seconds: float) -> str:
    """Write ``out/README.md`` and return its text."""
    numbers = {
        method: {name: _metrics(out / method / f'{name}.json') for name in ('test', 'test_tta_crf')}
        for method in configs
    }
    cfg = Config.fromfile(configs['toco'])
    dataset = cfg.val_dataloader.dataset
    images = len((Path(dataset.data_root) / dataset.ann_file).read_text().split())
    text = f"""# ToCo against the classifier it contains

{table(numbers, cfg.test_evaluator.threshold)}

{images} val images, {len(dataset.classes)} classes and background; seed {seed}.
All methods: the same backbone, images and tags, {cfg.train_cfg.max_iters} iterations of
{cfg.train_dataloader.batch_size} images. CAMs are multiplied by the image's tags, the segmentation sees none.
{seconds / 60:.1f} minutes in all on {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}.

![image, CAM, pseudo-label, prediction, truth](page.png)
"""
    part = out / 'README.md.part'
    part.write_text(text)
    part.replace(out / 'README.md')
    return text


def _metrics(path: Path) -> dict:
    """What one test wrote; nothing where that test is not part of the run."""
    return json.loads(path.read_text())['metrics'] if path.exists() else {}
