"""Images per second that one worker reads and augments for training, where its time goes, and what loaders deliver.

    python benchmarks/data_pipeline.py --json benchmarks/results/OUT.json

Three pipelines: ToCo's (three views of 448 x 448), WeakTr's first stage (224 x 224, RandAugment) and second stage
(480 x 480 with a mask). Photographs of PASCAL VOC are read where the data set is there, else drawn ones of that size.

- The profile is the CPU time of each transform in one process, mean over the images of several passes. A line with a
  slash is contained in the line it names first.
- A loader is measured by the clock, with the config's batch size and with 1 and 2 worker processes; what the machine
  does beside it is in the figure.
- The rate of 8 workers is an **estimate**: 8 times that of one worker's CPU time. It needs as many free cores.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from drawn_images import draw_images
from machine import machine, new_parser, report
from mmcv.transforms import BaseTransform, Compose
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from torch.utils.data import Dataset

import mmseg_wsss  # noqa: F401  registers the parts

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = {
    'ToCo, three views of 448': 'configs/toco/toco_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py',
    'WeakTr stage 1, 224': 'configs/weaktr/weaktr-cam_deit-s16_1xb64-60e_voc12aug-224x224.py',
    'WeakTr stage 2, 480': 'configs/weaktr/weaktr-seg_deit-s16_1xb4-100e_voc12aug-480x480.py',
}
CLASSES = tuple(f'class{index}' for index in range(20))
ESTIMATED_WORKERS = 8


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('--voc', type=Path, default=ROOT / 'data/VOCdevkit/VOC2012', help='root of PASCAL VOC')
    parser.add_argument('--images', type=int, default=100, help='different images (default: 100)')
    parser.add_argument('--passes', type=int, default=3, help='measured passes over them, after one (default: 3)')
    parser.add_argument('--workers', type=int, nargs='*', default=[1, 2], help='loaders to measure (default: 1 2)')
    parser.add_argument('--batches', type=int, default=30, help='of 4 images, or as many images (default: 30)')
    return parser.parse_args(argv)


def gather_images(voc: Path, count: int, folder: Path) -> dict:
    """Lists of images in ``folder``: the first of PASCAL VOC that have a mask, or drawn ones.

    Returns:
        the arguments of an ``ImageTagDataset``, ``data_prefix`` with masks.
    """
    masks = sorted((voc / 'SegmentationClassAug').glob('*.png'))
    names = [mask.stem for mask in masks if (voc / 'JPEGImages' / f'{mask.stem}.jpg').is_file()][:count]
    if names:
        prefix = dict(img_path=str(voc / 'JPEGImages'), seg_map_path=str(voc / 'SegmentationClassAug'))
        (folder / 'tags.json').write_text(json.dumps({f'{name}.jpg': [CLASSES[0]] for name in names}))
    else:
        draw_images(folder / 'drawn', count, CLASSES)
        prefix = dict(img_path=str(folder / 'drawn/images'), seg_map_path=str(folder / 'drawn/masks'))
        (folder / 'drawn/tags.json').rename(folder / 'tags.json')
        names = [str(number) for number in range(count)]
    (folder / 'list.txt').write_text('\n'.join(names))
    return dict(
        type='ImageTagDataset',
        classes=CLASSES,
        image_labels=dict(type='TagFile', path=str(folder / 'tags.json')),
        ann_file=str(folder / 'list.txt'),
        data_prefix=prefix,
    )


class TransformTimer:
    """CPU seconds of every transform of a pipeline, those inside others too.

    Args:
        pipeline: it is changed: its transforms are measured from now on.

    Attributes:
        seconds: path -> CPU seconds, in the order of the pipeline.
    """

    def __init__(self, pipeline: Compose) -> None:
        self.seconds: dict[str, float] = {}
        self._wrap(pipeline, '')

    def _wrap(self, pipeline: Compose, outer: str) -> None:
        for transform in pipeline.transforms:
            path = outer + type(transform).__name__
            self.seconds[path] = 0.0
            self._measure(transform, path)
            for name, part in vars(transform).items():
                for key, inner in part.items() if isinstance(part, dict) else [(name, part)]:
                    if isinstance(inner, Compose):
                        self._wrap(inner, f'{path}/{key}/')

    def _measure(self, transform: BaseTransform, path: str) -> None:
        original = transform.transform

        def measured(results: dict) -> dict | None:
            start = time.process_time()
            results = original(results)
            self.seconds[path] += time.process_time() - start
            return results

        transform.transform = measured


def seed_all() -> None:
    """The same augmentation in every run."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def profile(dataset: Dataset, passes: int) -> dict:
    """CPU milliseconds per image: of everything in every pass, and of each transform on the average."""
    timer = TransformTimer(dataset.pipeline)
    seed_all()
    totals = []
    for count in range(passes + 1):
        if count == 1:  # the first pass is for files and libraries to be in memory
            timer.seconds = dict.fromkeys(timer.seconds, 0.0)
        start = time.process_time()
        for index in range(len(dataset)):
            dataset[index]
        totals.append((time.process_time() - start) / len(dataset) * 1e3)
    parts = {path: seconds / passes / len(dataset) * 1e3 for path, seconds in timer.seconds.items()}
    return dict(total_ms=totals[1:], parts_ms=parts)


def _batches(loader: dict) -> Iterator[dict]:
    built = Runner.build_dataloader(loader, seed=0)
    while True:
        yield from built


def loader_rate(loader: dict, workers: int, batches: int) -> float:
    """Images per second by the clock, from the third batch per worker on."""
    loader = dict(loader, num_workers=workers, persistent_workers=True)
    stream = _batches(loader)
    for _ in range(3 * workers):
        next(stream)
    start = time.perf_counter()
    for _ in range(batches):
        next(stream)
    return batches * loader['batch_size'] / (time.perf_counter() - start)


def measure(args: argparse.Namespace) -> dict:
    """All pipelines."""
    MMLogger.get_instance('data_pipeline', log_level='ERROR')
    init_default_scope('mmseg')
    cv2.setNumThreads(0)  # as in training (env_cfg.mp_cfg)
    torch.set_num_threads(1)
    record = dict(machine(torch.device('cpu')), pipelines={})
    with tempfile.TemporaryDirectory() as folder:
        source = gather_images(args.voc, args.images, Path(folder))
        kind = 'drawn' if source['data_prefix']['img_path'].startswith(folder) else 'PASCAL VOC'
        record['images'] = f'{args.images} {kind}'
        for name, path in PIPELINES.items():
            cfg = Config.fromfile(ROOT / path)
            loader = cfg.train_dataloader
            loader.dataset = dict(source, pipeline=loader.dataset.pipeline)
            if 'LoadMask' not in [step['type'] for step in loader.dataset.pipeline]:
                loader.dataset.data_prefix.pop('seg_map_path')
            batches = max(2, args.batches * 4 // loader.batch_size)
            rates = {workers: loader_rate(loader, workers, batches) for workers in args.workers}
            costs = profile(DATASETS.build(loader.dataset), args.passes)
            record['pipelines'][name] = dict(
                config=Path(path).stem, batch_size=loader.batch_size, loader=rates, **costs
            )
    return record


def to_table(record: dict) -> str:
    """Markdown: rates of all pipelines, then the profile of each."""
    lines = [f'{key}: {record[key]}' for key in ('date', 'device', 'threads', 'load_average', 'images')]
    pipelines = record['pipelines']
    workers = list(next(iter(pipelines.values()))['loader'])
    loaders = [f'loader, {count} worker{"s" * (count > 1)}' for count in workers]
    title = [
        'pipeline',
        'CPU ms per image',
        'images per CPU second',
        *loaders,
        f'{ESTIMATED_WORKERS} workers (estimate)',
    ]
    lines += ['', f'| {" | ".join(title)} |', f'|---|{"--:|" * (len(title) - 1)}']
    for name, costs in pipelines.items():
        cost = np.median(costs['total_ms'])
        numbers = [f'{cost:.1f}', f'{1e3 / cost:.1f}', *(f'{costs["loader"][count]:.1f}' for count in workers)]
        lines.append(f'| {name} | {" | ".join(numbers)} | {ESTIMATED_WORKERS * 1e3 / cost:.0f} |')
    for name, costs in pipelines.items():
        total = np.mean(costs['total_ms'])
        lines += ['', f'| {name}: transform | CPU ms per image | share |', '|---|--:|--:|']
        for path, cost in costs['parts_ms'].items():
            label = f'- {path}' if '/' in path else path
            lines.append(f'| {label} | {cost:.2f} | {cost / total:.0%} |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    record = measure(args)
    report(to_table(record), record, args.json)


if __name__ == '__main__':
    main()
