"""CAMs of one checkpoint under several heads: ``compare_cams.py CHECKPOINT CONFIG CONFIG ... --split FILE``.

The configs differ in their ``cam_head`` only (WeakTr with learned weights, mean-sum, without patch attention ...). The
encoder runs once for all of them. Of each head: the background score with the best mIoU on these images, mIoU,
precision and recall there, and the mIoU at every score. CAMs are multiplied by the image-level labels.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.runner.amp import autocast
from mmseg.registry import MODELS
from torch import Tensor
from torch.utils.data import DataLoader

from mmseg_wsss.engine import whole_checkpoint
from mmseg_wsss.evaluation.pixel_counts import PixelCounts, cam_counts, nan_mean, rates
from mmseg_wsss.fileio import write_text
from mmseg_wsss.models import WeakTr
from mmseg_wsss.models.segmentors.cam_prediction import cams_of_samples
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.pseudo_labels import build_dataset
from mmseg_wsss.pseudo_labels.sweep import THRESHOLDS


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('checkpoint', help='of the first config')
    parser.add_argument('configs', nargs='+', type=Path, help='WeakTr configs of the same encoder')
    parser.add_argument('--split', metavar='FILE', help='images with masks (replaces ann_file of test_dataloader)')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument('--out', type=Path, metavar='OUT', help='JSON of all numbers')
    return parser.parse_args(argv)


def build_models(configs: Sequence[Config], checkpoint: str) -> list[WeakTr]:
    """One network per config, each with all weights of the checkpoint.

    Raises:
        ValueError: the checkpoint does not fit, or more than the heads differs.
    """
    models = []
    for config in configs:
        for key in (config.model.keys() | configs[0].model.keys()) - {'cam_head'}:
            if config.model.get(key) != configs[0].model.get(key):
                raise ValueError(f'{config.filename} has another {key} than {configs[0].filename}: compare heads only')
        model = MODELS.build(config.model)
        with whole_checkpoint(checkpoint, config.filename):
            load_checkpoint(model, checkpoint, map_location='cpu', strict=True, logger='silent')
        models.append(model.to(get_device()).eval())
    return models


def compare(models: Sequence[WeakTr], images: Tensor) -> tuple[Tensor, ...]:
    """Multi-scale CAMs (B, C, H, W) of every head, from the first model's encoder."""
    first, heads = models[0], [model.cam_head for model in models]

    def cams(x: Tensor) -> tuple[Tensor, ...]:
        tokens = first.backbone.tokens(x, watch=lambda attention: [head.watch(attention) for head in heads])
        seen = zip(*tokens.watched, strict=True)  # per head, of all blocks
        return tuple(head(tokens._replace(watched=blocks)).fine for head, blocks in zip(heads, seen, strict=True))

    return first.multi_scale(cams, images)


def count_pixels(models: Sequence[WeakTr], loader: DataLoader, *, amp: bool) -> list[PixelCounts]:
    """Pixel counts of every head, summed over the images."""
    thresholds = torch.tensor(THRESHOLDS)
    totals = [np.zeros((), np.int64)] * len(models)
    with torch.no_grad():
        for item in progress_bar(loader, text='CAMs'):
            batch = {'inputs': [item['inputs']], 'data_samples': [item['data_samples']]}
            data = models[0].data_preprocessor(batch)
            samples = data['data_samples']
            with autocast(dtype=torch.bfloat16, enabled=amp):
                everyones = compare(models, data['inputs'])
            truth = samples[0].gt_sem_seg.data.squeeze(0)
            for index, cams in enumerate(everyones):
                cam = cams_of_samples(models[0], cams, samples)[0]
                totals[index] = totals[index] + np.stack(cam_counts(cam, truth, thresholds))
    return [PixelCounts(*total) for total in totals]


def summary(counts: PixelCounts) -> dict:
    """Best threshold, its rates in percent, and the mIoU at all of them."""
    per_class = rates(counts)
    means = [nan_mean(row) for row in per_class['IoU']]
    best = int(np.argmax(means))
    return {
        'threshold': THRESHOLDS[best],
        'mIoU': means[best],
        'precision': nan_mean(per_class['precision'][best]),
        'recall': nan_mean(per_class['recall'][best]),
        'IoU': [None if np.isnan(value) else float(value) for value in per_class['IoU'][best]],
        'table': dict(zip(map(str, THRESHOLDS), means, strict=True)),
    }


def _as_it_is(items: list) -> object:
    return items[0]


def main(argv: list[str] | None = None) -> None:
    """Compare and print."""
    args = parse_args(argv)
    configs = [Config.fromfile(path) for path in args.configs]
    init_default_scope('mmseg')
    models = build_models(configs, args.checkpoint)
    test = configs[0].test_dataloader
    dataset = build_dataset(test.dataset, split=args.split, masks=True)
    loader = DataLoader(dataset, collate_fn=_as_it_is, num_workers=test.num_workers)
    counts = count_pixels(models, loader, amp=args.amp)
    names = [path.stem for path in args.configs]
    record = {'checkpoint': args.checkpoint, 'split': args.split, 'images': len(dataset), 'heads': {}}
    print('| head | best mIoU | at | precision | recall |\n|---|--:|--:|--:|--:|')
    for name, total in zip(names, counts, strict=True):
        row = record['heads'][name] = summary(total)
        print(f'| {name} | {row["mIoU"]:.1f} | {row["threshold"]:.2f} | {row["precision"]:.1f} | {row["recall"]:.1f} |')
    if args.out:
        write_text(args.out, json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
    main()
