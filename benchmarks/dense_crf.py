"""The dense CRF: pydensecrf in worker processes, and beside the exact one in PyTorch.

    python benchmarks/dense_crf.py --config CONFIG --checkpoint FILE --scale 0.5 --partial work_dirs/dense_crf.jsonl \\
        --json benchmarks/results/OUT.json

Side by side: the single-scale predictions of a trained network on ``--images`` images of its test set, spread evenly,
refined by either. "equal" is the share of pixels with the same label; the mIoU is over all images together, and "alone"
that of the predictions. Workers: images/s of a pool of 1 and of ``--workers`` processes, one after the other
``--repeats`` times, on the same predictions at full size; the efficiency is their ratio by the number of workers.
Without a network the images are drawn.
"""

import argparse
import json
import statistics
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine, new_parser, report
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import Tensor

from mmseg_wsss.checkpoints.files import read_weights
from mmseg_wsss.evaluation.pixel_counts import PixelCounts, label_counts, nan_mean, rates
from mmseg_wsss.models.refiners import CRF_PRESETS, unit_image
from mmseg_wsss.worker_pool import WorkerPool

WAYS = ('DenseCRF', 'ExactCRF')
DRAWN = 3  # classes of a drawn image


class Sample(NamedTuple):
    """One image (1, 3, H, W) in [0, 1] with the probabilities (1, K, H, W) of a network and the true ids (H, W)."""

    name: str
    image: Tensor
    scores: Tensor
    ground_truth: Tensor


class Refine:
    """The job of a worker: refine ``(image, scores)``, both as arrays."""

    def __init__(self, refiner: dict) -> None:
        self.refiner = MODELS.build(refiner)

    def __call__(self, task: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The labels (H, W) uint8."""
        image, scores = map(torch.from_numpy, task)
        return self.refiner(image, scores)[0].argmax(dim=0).byte().numpy()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, device=True)
    add = parser.add_argument
    add('--images', type=int, default=100, help='side by side; 0 for none (default: 100)')
    add('--scale', type=float, default=1.0, help='of the images side by side (default: 1, full size)')
    add('--workers', type=int, default=2, help='processes beside 1; 0 to measure none (default: 2)')
    add('--tasks', type=int, default=40, help='images that the workers refine (default: 40)')
    add('--repeats', type=int, default=3, help='of the workers (default: 3)')
    add('--partial', type=Path, metavar='JSONL', help='side by side is kept here, and goes on from here')
    return parse_with_network(parser, argv)


def parse_with_network(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """Read the command line, with what every benchmark of CRFs asks for: a network and the CRF's values."""
    parser.add_argument('--config', help='of the network (default: no network, drawn images)')
    parser.add_argument('--checkpoint', help='of the network')
    parser.add_argument('--preset', choices=list(CRF_PRESETS), default='weaktr-voc')
    args = parser.parse_args(argv)
    if (args.config is None) != (args.checkpoint is None):
        parser.error('--config and --checkpoint belong together')
    return args


def predictions(config: str, checkpoint: str, count: int, known: frozenset[str] = frozenset()) -> Iterator[Sample]:
    """What the network predicts for ``count`` images, spread evenly over its test set, but for the ``known`` ones."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    cfg.model.backbone.pop('init_cfg', None)
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(read_weights(checkpoint))
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int):
        path = Path(dataset.get_data_info(int(index))['img_path'])
        if path.stem in known:
            continue
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([dataset[int(index)]]))[0]
        ground_truth = sample.gt_sem_seg.data[0]
        yield Sample(
            path.stem, unit_image(path, ground_truth.shape), sample.seg_logits.data.softmax(dim=0)[None], ground_truth
        )


def drawn(count: int, known: frozenset[str] = frozenset()) -> Iterator[Sample]:
    """Noisy coloured areas of 375 x 500 pixels with soft, shifted predictions."""
    for name in map(str, range(count)):
        fields = F.interpolate(torch.randn(1, DRAWN, 5, 6), size=(375, 500), mode='bicubic')
        ground_truth = fields[0].argmax(dim=0)
        image = (
            torch.rand(DRAWN, 3)[ground_truth].permute(2, 0, 1) + 0.04 * torch.randn(3, *ground_truth.shape)
        ).clamp(0, 1)
        if name not in known:
            yield Sample(name, image[None], (3 * fields.roll((9, 9), (2, 3))).softmax(dim=1), ground_truth)


def shrunk(sample: Sample, scale: float) -> Sample:
    """The sample at another size."""
    size = [round(side * scale) for side in sample.ground_truth.shape]
    image, scores = (F.interpolate(x, size=size, mode='area') for x in (sample.image, sample.scores))
    ground_truth = F.interpolate(sample.ground_truth[None, None].float(), size=size, mode='nearest-exact')[0, 0].long()
    return Sample(sample.name, image, scores, ground_truth)


def compare(sample: Sample, preset: str, device: torch.device) -> dict:
    """Counts, costs and agreement of both CRFs on one image."""
    labels = {'alone': sample.scores[0].argmax(dim=0)}
    record = dict(name=sample.name, size=list(sample.ground_truth.shape), seconds={}, cpu_seconds={})
    for way in WAYS:
        place = torch.device('cpu') if way == 'DenseCRF' else device
        refiner = MODELS.build(dict(type=way, preset=preset))
        image, scores = sample.image.to(place), sample.scores.to(place)
        start, busy = time.perf_counter(), time.process_time()
        labels[way] = refiner(image, scores)[0].argmax(dim=0).cpu()
        record['seconds'][way] = time.perf_counter() - start
        record['cpu_seconds'][way] = time.process_time() - busy
    equal = {f'{a} {b}': (labels[a], labels[b]) for a, b in (WAYS, ('alone', WAYS[0]), ('alone', WAYS[1]))}
    record['equal'] = {pair: float((a == b).float().mean()) for pair, (a, b) in equal.items()}
    classes = sample.scores.shape[1]
    record['counts'] = {
        way: [x[0].tolist() for x in label_counts(label, sample.ground_truth, classes)] for way, label in labels.items()
    }
    return record


def side_by_side(samples: Iterator[Sample], args: argparse.Namespace) -> Iterator[dict]:
    """A record per image, kept in ``args.partial`` as soon as it is there."""
    device = torch.device(args.device)
    for sample in samples:
        record = compare(shrunk(sample, args.scale), args.preset, device)
        if args.partial:
            with args.partial.open('a') as file:
                file.write(json.dumps(record) + '\n')
        yield record


def measure_workers(samples: Iterator[Sample], args: argparse.Namespace) -> dict[str, list[float]]:
    """Images per second with 1 and with ``args.workers`` processes, one number per repetition."""
    tasks = [(sample.image.numpy(), sample.scores.numpy()) for sample in samples]
    little = tuple(x[..., :16, :16] for x in tasks[0])
    found: dict[str, list[float]] = {str(count): [] for count in (1, args.workers)}
    for _ in range(args.repeats):
        for count, rates_ in found.items():
            refine = partial(Refine, dict(type='DenseCRF', preset=args.preset))
            with WorkerPool(refine, workers=int(count)) as pool:
                deque(pool.run([little] * (50 * int(count))), maxlen=0)  # until every process has come up
                start = time.perf_counter()
                deque(pool.run(tasks), maxlen=0)
                rates_.append(len(tasks) / (time.perf_counter() - start))
    return found


def summary(images: list[dict]) -> dict:
    """Means over the images; mIoU in percent over all of them together."""
    result = dict(images=len(images))
    for way in ('alone', *WAYS):
        counts = np.array([one['counts'][way] for one in images]).sum(axis=0)
        result[f'mIoU {way}'] = nan_mean(rates(PixelCounts(*counts[:, None]))['IoU'][0])
    for pair in images[0]['equal']:
        result[f'equal {pair}'] = statistics.fmean(one['equal'][pair] for one in images)
    result['equal, worst image'] = min(one['equal'][' '.join(WAYS)] for one in images)
    for way in WAYS:
        for clock in ('seconds', 'cpu_seconds'):
            result[f'{clock} {way}'] = statistics.median(one[clock][way] for one in images)
    return result


def to_table(record: dict) -> str:
    """Markdown."""
    lines = []
    if s := record.get('summary'):
        lines += [
            f'{s["images"]} images at scale {record["scale"]:g}, preset {record["preset"]}',
            '',
            '| | mIoU | pixels it changes | s per image | CPU s per image |',
            '|---|--:|--:|--:|--:|',
            f'| predictions alone | {s["mIoU alone"]:.2f} | | | |',
        ]
        for way, name in zip(WAYS, ('`DenseCRF` (pydensecrf)', '`ExactCRF`'), strict=True):
            changed = 1 - s[f'equal alone {way}']
            lines.append(
                f'| {name} | {s[f"mIoU {way}"]:.2f} | {changed:.2%} | {s[f"seconds {way}"]:.2f} '
                f'| {s[f"cpu_seconds {way}"]:.2f} |'
            )
        equal, worst = s[f'equal {" ".join(WAYS)}'], s['equal, worst image']
        difference = s['mIoU ExactCRF'] - s['mIoU DenseCRF']
        lines += [
            '',
            f'Same label: {equal:.2%} of the pixels, {worst:.2%} on the worst image; mIoU {difference:+.2f}.',
            '',
        ]
    if record['workers']:
        base = statistics.median(record['workers']['1'])
        lines += ['| workers | images/s | efficiency |', '|--:|--:|--:|']
        for count, found in record['workers'].items():
            speed = statistics.median(found)
            lines.append(f'| {count} | {speed:.2f} | {speed / base / int(count):.2f} |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    torch.manual_seed(0)
    network = () if args.config is None else (args.config, args.checkpoint)
    source = predictions if network else drawn
    record = dict(machine(torch.device(args.device)), source=args.config or 'drawn', preset=args.preset)
    record.update(scale=args.scale, workers={})
    if args.images:
        images = []
        if args.partial and args.partial.exists():
            images = [json.loads(line) for line in args.partial.read_text().splitlines()]
        known = frozenset(one['name'] for one in images)
        images += side_by_side(source(*network, args.images, known), args)
        record['summary'] = summary(images)
    if args.workers:
        record.update(tasks=args.tasks, workers=measure_workers(source(*network, args.tasks), args))
    report(to_table(record), record, args.json)


if __name__ == '__main__':
    main()
