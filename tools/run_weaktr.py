"""The whole of WeakTr in one command: ``python tools/run_weaktr.py CAM_CONFIG SEG_CONFIG --work-dir DIR``.

Trains the first stage, labels the training images with it, trains the second stage on these labels, and tests at a
single scale, at several, and with a CRF; with ``--fully`` the same network on true masks too. Prints a table, which
stays in DIR/README.md. A second call does what is left to do, so that an interruption or an error costs one step at
most: trainings go on from their latest checkpoint, labelling from the images that are missing.
"""

import argparse
from pathlib import Path

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.engine.steps import run_steps, seconds
from mmseg_wsss.engine.tool_steps import ToolSteps
from mmseg_wsss.engine.weaktr_run import WeakTrRun, table
from mmseg_wsss.fileio import whole_file


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('cam_config', type=Path, help='config of the first stage, configs/weaktr/weaktr-cam_*.py')
    add('seg_config', type=Path, help='config of the second stage, configs/weaktr/weaktr-seg_*.py')
    add('--work-dir', type=Path, required=True, metavar='DIR', help='where everything goes')
    add('--seed', type=int, default=0, help='of every training (default: 0)')
    add('--fully', type=Path, metavar='CONFIG', dest='fully_config', help='train and test the twin on true masks too')
    labels = parser.add_argument_group('pseudo-labels (see tools/make_pseudo_labels.py)')
    add = labels.add_argument
    add('--split', metavar='FILE', help="images to label (default: the second stage's training list)")
    add('--threshold', type=float, metavar='X', help='background score (default: the best on images with masks)')
    add('--sweep-split', metavar='FILE', help='images with masks to choose it on (default: those of --split)')
    add('--refine', choices=['none', 'par', 'crf-labels', 'crf-scores'], default='crf-labels')
    add('--workers', type=int, default=0, metavar='N', help='processes that refine and write (default: 0)')
    args = parser.parse_args(argv)
    for name in ('cam_config', 'seg_config', 'fully_config'):
        path = getattr(args, name)
        if path is not None and not path.is_file():
            parser.error(f'there is no config {path}')
    if args.threshold is not None and args.sweep_split:
        parser.error('--sweep-split chooses the threshold: leave --threshold out')
    if args.threshold is not None and not 0 <= args.threshold < 1:
        parser.error(f'--threshold must be in [0, 1), got {args.threshold}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Do what is left to do, print the table."""
    args = parse_args(argv)
    try:
        run = WeakTrRun(**vars(args))
        tools = ToolSteps(tools=Path(__file__).resolve().parent)
        tests = run.plan(tools)
    except (ValueError, ImportError) as error:
        raise SystemExit(f'error: {error}') from None
    run_steps(tools.steps, run.work_dir / '.lock')
    configs = ', '.join(path.stem for path in (run.cam_config, run.seg_config, run.fully_config) if path)
    text = f'{table(tests)}\n\n{configs}; seed {run.seed}; {seconds(tools.steps) / 3600:.2f} hours in all.\n'
    with whole_file(run.work_dir / 'README.md') as temporary:
        temporary.write_text(text, encoding='utf-8')
    print(f'\n{text}\nThis table: {run.work_dir / "README.md"}')


if __name__ == '__main__':
    main()
