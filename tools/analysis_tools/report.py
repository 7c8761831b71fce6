"""A run as one HTML file: ``python tools/analysis_tools/report.py WORK_DIR``, or a config before its training.

WORK_DIR is that of ``tools/train.py`` or of ``tools/run_two_stage.py``. The page shows the numbers of its tests, IoU
per class, the losses, what the training sees, and images of the test set with CAM, pseudo-label, prediction and ground
truth, the worst first; of a config alone, what the training will see. The pseudo-label is that of
``tools/make_pseudo_labels.py`` with the same ``--threshold`` and ``--refine``.
"""

import argparse
import sys
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

from matplotlib.figure import Figure
from mmseg.registry import DATASETS

from mmseg_wsss.apis.run_folder import RunFolder, evenly, losses_of, painters_of, pictures, stages_of, worst_first
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.text_files import read_json
from mmseg_wsss.visualization import Report, sample_page


def number(value: float | None, key: str = '') -> str:
    """A cell."""
    digits = 2 if key == 'best_threshold' else 1
    return '' if value is None else f'{value:.{digits}f}' if isinstance(value, float) else f'{value:,}'


def test_tables(runs: dict[str, RunFolder]) -> dict[str, list[list[str]]]:
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


def samples(run: RunFolder, count: int) -> list[Figure]:
    """What the training sees, spread evenly over the training set if there is one."""
    if run.cfg.get('train_dataloader') is None:
        return []
    images = DATASETS.build(run.cfg.train_dataloader.dataset)
    names = {key: images.metainfo.get(key) or () for key in ('classes', 'palette')}
    items = [images[index] for index in evenly(len(images), count)]
    return [sample_page(item['inputs'], item['data_samples'], **names) for item in items]


def make_report(args: argparse.Namespace) -> Report:
    """Everything that there is of the run or both stages."""
    runs = stages_of(args.work_dir)
    tables = test_tables(runs)
    if (compared := args.work_dir / 'labels' / 'iou.json').is_file():
        tables['Pseudo-labels, in %'] = [['mIoU'], [number(read_json(compared)['mIoU'])]]
    painters = painters_of(runs.values(), refine=args.refine, threshold=args.threshold)
    known = painters[-1].images.metainfo if painters else {'classes': ()}
    shown = not args.no_photos and args.samples
    return Report(
        title=args.work_dir.resolve().stem,
        about=[
            f'{run.config.name}: {run.checkpoint.name if run.checkpoint else "no checkpoint"}' for run in runs.values()
        ],
        tables=tables,
        losses={f'Losses {name}'.strip(): losses_of(run.folder) for name, run in runs.items()},
        samples=[page for run in runs.values() for page in samples(run, args.samples)] if shown else [],
        pictures=worst_first(pictures(painters, args.num, photos=not args.no_photos)),
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
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
