"""Compare refinements of a method's CAMs in one pass: ``refined_cams.py CONFIG [CHECKPOINT] --out FILE.json``.

Rows: the CAMs as they are; spread by the attention of the network itself; by the config's ``affinity``; by both, one
after the other. For each the best mIoU over all background thresholds, on images of the test set with masks and tags,
and with ``--crf`` the mIoU of the last row's labels after the dense CRF on labels, at given thresholds. FILE gets all
thresholds and the IoU per class.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from mmengine.config import DictAction

ROWS = {'cam': (), 'attention': ('attention',), 'affinity': ('affinity',), 'both': ('attention', 'affinity')}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('config', help='config file of a method with CAMs')
    add('checkpoint', nargs='?', help='checkpoint file of this config; none for CLIPCAM')
    add('--out', required=True, metavar='FILE', help='JSON of the numbers')
    add('--split', metavar='FILE', help='images with masks (default: those of the test set)')
    add('--rows', nargs='+', choices=[*ROWS], default=[*ROWS], help='default: all')
    add('--side', type=int, metavar='N', help='longer side of the images for attention (default: as they are)')
    add('--crf', nargs='+', type=float, default=[], metavar='X', help='thresholds at which the last row gets a CRF')
    add('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values')
    args = parser.parse_args(argv)
    for path in (args.config, args.checkpoint):
        if path is not None and not Path(path).is_file():
            parser.error(f'there is no file {path}')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.engine import read_config
from mmseg_wsss.evaluation.pixel_counts import THRESHOLDS, PixelCounts, best_threshold, cam_counts, label_counts, rates
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.models.refiners import unit_image
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.pseudo_labels import Scorer, affinity_of, build_dataset, load_model, refiner_of


class Row:
    """Counted pixels of one way to make CAMs or labels, and CPU seconds: with the network's, or of the CRF alone."""

    def __init__(self) -> None:
        self.counts: np.ndarray | int = 0
        self.seconds = 0.0

    def record(self, images: int) -> dict:
        """Numbers of the row; IoU per class at the best threshold, background first."""
        counts = PixelCounts(*self.counts)
        best, means = best_threshold(counts)
        return {
            'mIoU': round(float(means[best]), 2),
            'threshold': THRESHOLDS[best] if len(means) > 1 else None,
            'IoU': rates(counts)['IoU'][best].round(2).tolist(),
            'CPU seconds per image': round(self.seconds / images, 2),
            'table': means.round(2).tolist(),
        }


def refined(cam: Tensor, image: Tensor, tags: Tensor, refiners: list[nn.Module]) -> Tensor:
    """CAMs (C, H, W) of the present classes after these refiners, the others 0."""
    cam = cam * tags[:, None, None]
    for refiner in refiners:
        cam = refiner(image, cam[None])[0]
    return cam


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    args = parse_args(argv)
    if problem := unwritable(args.out, file=True):
        sys.exit(f'error: --out {problem}')
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = load_model(MODELS.build(cfg.model), cfg, args.checkpoint, source='cam')
    needed = {name for row in args.rows for name in ROWS[row]}
    if 'affinity' in needed and cfg.get('affinity', {}).get('backbone') is None:
        sys.exit(f'error: {args.config} has no affinity.backbone for the rows affinity and both: --rows cam attention')
    configs = {'attention': {'affinity': {'longer_side': args.side}}, 'affinity': cfg}
    parts = {name: affinity_of(configs[name], 'affinity', model).to(get_device(model)).eval() for name in needed}
    crf = MODELS.build(refiner_of(cfg, 'crf-labels')) if args.crf else None
    images = build_dataset(cfg.test_dataloader.dataset, split=args.split, masks=True)
    rows = {name: Row() for name in [*args.rows, *(f'{args.rows[-1]} + CRF at {x:g}' for x in args.crf)]}
    scorer = Scorer(model, source='cam', mask_by_labels=True)
    for index in progress_bar(range(len(images)), text='images'):
        measure(scorer, images[index], rows, args, parts, crf)
    found = {name: row.record(len(images)) for name, row in rows.items()}
    for name, one in found.items():
        print(
            f'{name:24} mIoU {one["mIoU"]:5.2f} at {one["threshold"]}, {one["CPU seconds per image"]} CPU s per image'
        )
    record = {'config': args.config, 'checkpoint': args.checkpoint, 'images': len(images), 'rows': found}
    write_text(args.out, json.dumps(record, indent=1) + '\n')


def measure(
    scorer: Scorer, item: dict, rows: dict[str, Row], args: argparse.Namespace, parts: dict, crf: nn.Module | None
) -> None:
    """Add one image to all rows."""
    start = time.process_time()
    scores, tags, sample = scorer.maps(item)
    passed = time.process_time() - start
    ground_truth = sample.gt_sem_seg.data.squeeze(0)
    image = unit_image(sample.img_path, scores.shape[-2:]).to(scores.device)
    for name in args.rows:
        start = time.process_time()
        cam = refined(scores, image, tags.to(scores), [parts[part] for part in ROWS[name]])
        rows[name].seconds += passed + time.process_time() - start
        rows[name].counts += np.stack(cam_counts(cam, ground_truth, torch.tensor(THRESHOLDS)))
    for x in args.crf:
        start = time.process_time()
        label = crf(image, torch.cat((torch.full_like(cam[:1], x), cam))[None])[0].argmax(dim=0)
        row = rows[f'{args.rows[-1]} + CRF at {x:g}']
        row.seconds += time.process_time() - start
        row.counts += np.stack(label_counts(label, ground_truth, len(cam) + 1))


def get_device(model: nn.Module) -> torch.device:
    """Where the network is."""
    return next(model.parameters()).device


if __name__ == '__main__':
    main()
