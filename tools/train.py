"""Train a config with mmengine's Runner: ``python tools/train.py configs/toco/....py``."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from mmengine.config import Config, DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='latest',
        metavar='CHECKPOINT',
        help='continue from this checkpoint, or the latest in the work dir; draws and losses as without interruption',
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on CPU and GPU')
    parser.add_argument('--seed', type=int, help="seed of every draw (default: the config's, else 0)")
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override values')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmengine.registry import RUNNERS, init_default_scope
from mmseg.registry import MODELS

from mmseg_wsss.checkpoints import checked
from mmseg_wsss.engine import finish_launch, is_first_process, latest_checkpoint, prepare_cpu_launch, read_config
from mmseg_wsss.fileio import unwritable
from mmseg_wsss.folder_lock import FolderInUseError, output_folder
from mmseg_wsss.models import StartedLosses


def build_cfg(args: argparse.Namespace) -> Config:
    """The config with the command line's values in it.

    Raises:
        ValueError: a value that changes nothing, ``--amp`` with an optimizer wrapper that it cannot replace, gradient
            accumulation over iterations with a method that counts its iterations, or nothing complete to resume from.
    """
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    if args.seed is not None or cfg.get('randomness', {}).get('seed') is None:
        cfg.setdefault('randomness', {})
        cfg.randomness.seed = args.seed or 0
    if args.amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'BF16OptimWrapper'):
            raise ValueError(f"--amp replaces optim_wrapper.type 'OptimWrapper', but {args.config} has {wrapper!r}")
        cfg.optim_wrapper.type = 'BF16OptimWrapper'
    accumulates = cfg.get('optim_wrapper', {}).get('accumulative_counts', 1) > 1
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if accumulates and issubclass(MODELS.get(cfg.model.type), StartedLosses):
        raise ValueError(
            'optim_wrapper.accumulative_counts would count iterations, move EMA teachers and take the means of losses '
            'per part of the batch: another training. For a large batch in little memory set '
            'model.backbone.pixels_per_pass, e.g. to 200704 for one image of 448 x 448 at a time (docs/scaling.md)'
        )
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'latest' else args.resume
    if cfg.get('resume') and not cfg.get('load_from'):
        cfg.load_from = latest_checkpoint(cfg.work_dir)
    if cfg.get('load_from'):
        cfg.load_from = checked(cfg.load_from)
    return cfg


def main() -> None:
    """Train."""
    cfg = build_cfg(parse_args())
    if problem := unwritable(cfg.work_dir):
        sys.exit(f'error: --work-dir {problem}')
    try:
        with output_folder(cfg.work_dir) if is_first_process(cfg.launcher) else nullcontext():
            prepare_cpu_launch(cfg)
            RUNNERS.build(cfg).train()  # mmengine's Runner, or another by the config's `runner_type`
            finish_launch()
    except FolderInUseError as error:
        sys.exit(f'error: --work-dir {error}')


if __name__ == '__main__':
    main()
