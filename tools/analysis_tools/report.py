"""A run as one HTML file: ``python tools/analysis_tools/report.py WORK_DIR``, or a config before its training.

WORK_DIR is that of ``tools/train.py`` or of ``tools/run_two_stage.py``. The page shows the numbers of its tests, IoU
per class, the losses, what the training sees, and images of the test set with CAM, pseudo-label, prediction and ground
truth, the worst first; of a config alone, what the training will see. The pseudo-label is that of
``tools/make_pseudo_labels.py`` with the same ``--threshold`` and ``--refine``.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('work_dir', type=Path, metavar='WORK_DIR', help='of a training, or of both stages; or a config')
    add('--out', type=Path, metavar='FILE', help='default: WORK_DIR/report.html; of a config, its name with .html here')
    add('--num', type=int, default=60, help='images, spread evenly over the test set (default: 60)')
    add('--samples', type=int, default=4, help='of the training set, with all views (default: 4)')
    add('--threshold', type=float, metavar='X', help="default: that of the labels, else the model's")
    add(
        '--refine',
        choices=['none', 'par', 'crf-labels', 'crf-scores', 'affinity', 'affinity+crf'],
        default='none',
        help='as for the label tool',
    )
    add('--no-photos', action='store_true', help='maps alone, for photographs that must not be published')
    args = parser.parse_args(argv)
    if args.num < 1 or args.samples < 0:
        parser.error('--num must be at least 1, --samples at least 0')
    if not args.work_dir.exists():
        parser.error(f'there is no {args.work_dir}')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_wsss.datasets.transforms.load_image import read_image
from mmseg_wsss.engine import read_config
from mmseg_wsss.evaluation.pixel_counts import label_counts, nan_mean, rates
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.models import CAMSegmentor
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.pseudo_labels import Scorer, affinity_of, load_model, refiner_of
from mmseg_wsss.text_files import read_json, read_text
from mmseg_wsss.visualization import Picture, Report, sample_page


class Run:
    """A folder of a training with its config, last checkpoint, logs and tests; or a config alone.

    Raises:
        SystemExit: the folder has no config.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path if path.is_dir() else path.parent / 'no training'
        configs = sorted(path.glob('*.py'), key=lambda one: one.stat().st_mtime) if path.is_dir() else [path]
        if not configs:
            raise SystemExit(f'error: {path} has no config: give the --work-dir of tools/train.py or run_two_stage.py')
        self.config = configs[-1]
        self.cfg: Config = read_config(self.config)
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))
        last = self.folder / 'last_checkpoint'
        self.checkpoint = self.folder / Path(read_text(last)).name if last.is_file() else None
        kind = MODELS.get(self.cfg.model.type)
        self.has_cams = issubclass(kind, CAMSegmentor)
        self.has_weights = self.checkpoint is not None or not getattr(kind, 'needs_checkpoint', True)

    def network(self) -> nn.Module:
        """With its weights, in evaluation mode."""
        checkpoint = None if self.checkpoint is None else str(self.checkpoint)
        source = 'cam' if self.has_cams else 'seg'
        return load_model(MODELS.build(self.cfg.model), self.cfg, checkpoint, source=source)

    def losses(self) -> list[dict[str, float]]:
        """Lines of the log, those of a resumed training in place of the ones before."""
        lines = [
            json.loads(line)
            for file in sorted(self.folder.glob('*/vis_data/scalars.json'))
            for line in read_text(file).splitlines()
        ]
        found = {line['iter']: line for line in lines if 'loss' in line and 'iter' in line}
        return [found[key] for key in sorted(found)]

    def tests(self) -> dict[str, dict]:
        """Records of ``tools/test.py`` by name."""
        return {path.stem: read_json(path) for path in sorted(self.folder.glob('test*.json'))}


def number(value: float | None, key: str = '') -> str:
    """A cell."""
    digits = 2 if key == 'best_threshold' else 1
    return '' if value is None else f'{value:.{digits}f}' if isinstance(value, float) else f'{value:,}'


def test_tables(runs: dict[str, Run]) -> dict[str, list[list[str]]]:
    """mIoU, precision and recall per test and source; IoU per class."""
    sources = {
        (f'{stage} {name}'.strip(), source): (record, record.get('IoU', {}).get(source, {}))
        for stage, run in runs.items()
        for name, record in run.tests().items()
        for source in dict.fromkeys(key.split('/')[0] for key in record['metrics'] if '/' in key)
    }
    keys = ('mIoU', 'precision', 'recall', 'best_mIoU', 'best_threshold', 'images')
    means = [
        [f'{name}: {source}', *(number(record['metrics'].get(f'{source}/{key}'), key) for key in keys)]
        for (name, source), (record, _) in sources.items()
    ]
    classes = list(dict.fromkeys(name for _, ious in sources.values() for name in ious))
    ious = [[name, *(number(one.get(name)) for _, one in sources.values())] for name in classes]
    tables = {'Tests, in %': [['', *(key.replace('_', ' ') for key in keys)], *means]} if means else {}
    if ious:
        tables['IoU per class, in %'] = [['class', *(f'{name}: {source}' for name, source in sources)], *ious]
    return tables


def image_iou(mask: np.ndarray, truth: np.ndarray, num_classes: int) -> float | None:
    """Mean IoU of an image over the classes in its mask or its ground truth, in percent; None: all is ignored."""
    if (truth == 255).all():
        return None
    counts = label_counts(torch.from_numpy(mask), torch.from_numpy(truth), num_classes)
    return float(nan_mean(rates(counts)['IoU'][0]))


class CAMPainter:
    """CAM, pseudo-label and prediction of images by a network with CAMs."""

    def __init__(self, run: Run, args: argparse.Namespace) -> None:
        model = run.network()
        refiner = refiner_of(run.cfg, args.refine)
        self.scorer = Scorer(
            model,
            source='cam',
            mask_by_labels=True,
            refiner=None if refiner is None else MODELS.build(refiner),
            affinity=affinity_of(run.cfg, args.refine, model),
        )
        self.threshold = model.background_threshold if args.threshold is None else args.threshold
        self.images = DATASETS.build(run.cfg.test_dataloader.dataset)

    def paint(self, picture: Picture, index: int) -> SegDataSample:
        """Add the maps; without image-level labels all classes compete."""
        item = self.images[index]
        self.scorer.mask_by_labels = 'gt_score' in item['data_samples']
        maps = self.scorer.maps(item)
        ids, scores = self.scorer.compete(maps, self.threshold)
        picture.label = ids[scores.argmax(axis=0)]
        cam = maps.scores
        if maps.tags is not None:
            cam = cam * maps.tags[:, None, None].to(cam)
            picture.tags = [self.images.metainfo['classes'][k + 1] for k in maps.tags.nonzero().flatten().tolist()]
        picture.cam = cam.cpu().numpy()
        return maps.sample


class Painter:
    """The prediction of images by any network."""

    def __init__(self, run: Run) -> None:
        self.network, self.images = run.network(), DATASETS.build(run.cfg.test_dataloader.dataset)

    @torch.no_grad()
    def paint(self, picture: Picture, index: int) -> SegDataSample:
        """Nothing to add: the sample has it."""
        return self.network.test_step(pseudo_collate([self.images[index]]))[0]


def pictures(painters: Sequence[CAMPainter | Painter], args: argparse.Namespace) -> Iterator[Picture]:
    """Images of the test set; the last network predicts. None without a network."""
    if not painters:
        return
    images = painters[-1].images
    chosen = np.unique(np.linspace(0, len(images) - 1, args.num).round().astype(int)).tolist()
    for index in progress_bar(chosen, text='images'):
        picture = Picture()
        for painter in painters:
            sample = painter.paint(picture, index)
        picture.name = Path(sample.img_path).name
        if not args.no_photos:
            picture.photo = np.ascontiguousarray(read_image(sample.img_path)[..., ::-1])  # BGR to RGB
        picture.prediction = sample.pred_sem_seg.data[0].cpu().numpy()
        if 'gt_sem_seg' in sample:
            picture.truth = sample.gt_sem_seg.data[0].cpu().numpy()
            picture.iou = image_iou(picture.prediction, picture.truth, len(images.metainfo['classes']))
        yield picture


def samples(run: Run, count: int) -> list[Figure]:
    """What the training sees, spread evenly over the training set if there is one."""
    if run.cfg.get('train_dataloader') is None:
        return []
    images = DATASETS.build(run.cfg.train_dataloader.dataset)
    names = {key: images.metainfo.get(key) or () for key in ('classes', 'palette')}
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int)).tolist()
    items = [images[index] for index in chosen]
    return [sample_page(item['inputs'], item['data_samples'], **names) for item in items]


def make_report(args: argparse.Namespace) -> Report:
    """Everything that there is of the run or both stages."""
    stages = [name for name in ('cam', 'seg') if (args.work_dir / name).is_dir()] or ['']
    runs = {name: Run(args.work_dir / name) for name in stages}
    manifest, compared = (args.work_dir / 'labels' / f'{name}.json' for name in ('manifest', 'iou'))
    if args.threshold is None and manifest.is_file():
        made = read_json(manifest)
        args.threshold = made['found'].get('threshold', made['settings']['threshold'])
    tables = test_tables(runs)
    if compared.is_file():
        tables['Pseudo-labels, in %'] = [['mIoU'], [number(read_json(compared)['mIoU'])]]
    able = [run for run in runs.values() if run.has_weights]
    painters = [CAMPainter(run, args) if run.has_cams else Painter(run) for run in able]
    known = painters[-1].images.metainfo if painters else {'classes': ()}
    shown = not args.no_photos and args.samples
    return Report(
        title=args.work_dir.resolve().stem,
        about=[
            f'{run.config.name}: {run.checkpoint.name if run.checkpoint else "no checkpoint"}' for run in runs.values()
        ],
        tables=tables,
        losses={f'Losses {name}'.strip(): run.losses() for name, run in runs.items()},
        samples=[page for run in runs.values() for page in samples(run, args.samples)] if shown else [],
        pictures=sorted(pictures(painters, args), key=lambda one: (one.iou is None, one.iou or 0, one.name)),
        classes=known['classes'],
        palette=known.get('palette') or (),
    )


def main(argv: list[str] | None = None) -> None:
    """Collect, predict, write."""
    args = parse_args(argv)
    of_config = Path(f'{args.work_dir.stem}.html')
    out = args.out or (args.work_dir / 'report.html' if args.work_dir.is_dir() else of_config)
    if problem := unwritable(out, file=True):
        sys.exit(f'error: --out {problem}')
    report = make_report(args)
    write_text(out, report.html())
    print(f'{len(report.pictures)} images, {out.stat().st_size >> 10:,} KiB: {out}')


if __name__ == '__main__':
    main()
