"""Test a checkpoint with mmengine's Runner: ``python tools/test.py configs/toco/....py work_dirs/....pth``."""

import argparse
import json
import math
import sys
from contextlib import nullcontext
from pathlib import Path

from mmengine.config import Config, DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint file of this config; none for a network that is not trained (CLIPCAM)'
    )
    parser.add_argument('--tta', action='store_true', help="several scales and flips: the config's tta_pipeline")
    parser.add_argument(
        '--crf',
        nargs='?',
        const=True,
        default=False,
        choices=['toco', 'weaktr-voc', 'weaktr-coco', 'weaktr-voc-labels', 'weaktr-coco-labels'],
        help="dense CRF on the prediction (extra `crf`), with the values of the config's `crf`, or of a paper",
    )
    parser.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='processes (of each launched one) that run the CRF while the network continues; 0 runs it in between '
        '(default: one per core)',
    )
    parser.add_argument(
        '--out', metavar='DIR', help='write the predictions there as palette PNGs, in sub-folders like the images'
    )
    parser.add_argument('--work-dir', help='where the log and the JSON of the metrics go (default: work_dirs/CONFIG)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values'
    )
    args = parser.parse_args(argv)
    for name in ('config', 'checkpoint'):
        if getattr(args, name) is not None and not Path(getattr(args, name)).is_file():
            parser.error(f'there is no {name} file {getattr(args, name)}')
    if args.workers is not None and args.workers < 0:
        parser.error('--workers must not be negative')
    if args.workers is not None and not args.crf:
        parser.error('--workers needs --crf: they run the CRF')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmengine.dist import is_main_process
from mmengine.runner import Runner

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.checkpoints import checked
from mmseg_wsss.engine import (
    finish_launch,
    image_folder,
    is_first_process,
    load_own_weights,
    prepare_cpu_launch,
    read_config,
    use_crf,
    use_tta,
)
from mmseg_wsss.engine.test_setup import add_metric, whole_checkpoint
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.folder_lock import FolderInUseError, output_folder


def build_cfg(args: argparse.Namespace) -> Config:
    """The config with the command line's values in it."""
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if isinstance(args.crf, str):  # in place of what the config has; options on the command line go on top
        cfg.crf = {'type': cfg.get('crf', {}).get('type', 'DenseCRF'), 'preset': args.crf}
        own = (args.cfg_options or {}).items()
        cfg.merge_from_dict({key: value for key, value in own if key.partition('.')[0] == 'crf'})
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise ValueError(f'{args.config} has no test_dataloader or no test_evaluator, so there is nothing to test')
    if args.checkpoint is None:  # nothing is trained or validated
        cfg.train_dataloader = cfg.val_dataloader = cfg.val_evaluator = None
    if args.out:
        root = image_folder(cfg.test_dataloader.dataset)
        add_metric(cfg, {'type': 'MaskWriter', 'out_dir': args.out, 'img_root': root})
    if args.crf:
        use_crf(cfg, workers=args.workers)
    if args.tta:
        use_tta(cfg)
    # the config of the training in the same folder stays as it is
    name = Path(args.config).with_stem(f'{Path(args.config).stem}_{name_of(args)}')
    return Config(cfg.to_dict(), cfg_text=cfg.text, filename=str(name))


def name_of(args: argparse.Namespace) -> str:
    """``test[_tta][_crf]``."""
    return 'test' + '_tta' * args.tta + '_crf' * bool(args.crf)


def json_numbers(numbers: dict) -> dict:
    """NaN, which JSON does not support, becomes None."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in numbers.items()}


def write_metrics(path: Path, metrics: dict, class_iou: dict[str, dict], args: argparse.Namespace) -> None:
    """Write the metrics and the IoU per source and class with config and checkpoint."""
    record = {
        'config': args.config,
        'checkpoint': args.checkpoint,
        'tta': args.tta,
        'crf': args.crf,
        'metrics': json_numbers(metrics),
        'IoU': {source: json_numbers(values) for source, values in class_iou.items()},
    }
    write_text(path, json.dumps(record, indent=2) + '\n')


def main(argv: list[str] | None = None) -> None:
    """Test, and write ``test[_tta][_crf].json`` into the work dir."""
    args = parse_args(argv)
    if args.out and (problem := unwritable(args.out)):
        sys.exit(f'error: --out {problem}')
    try:
        with output_folder(args.out) if args.out and is_first_process(args.launcher) else nullcontext():
            test(args)
    except FolderInUseError as error:
        sys.exit(f'error: --out {error}')


def test(args: argparse.Namespace) -> None:
    """Test in an output folder that is held."""
    cfg = build_cfg(args)
    prepare_cpu_launch(cfg)
    runner = Runner.from_cfg(cfg)
    if args.checkpoint is None:
        load_own_weights(runner.model)
    else:
        with whole_checkpoint(args.checkpoint, args.config):
            runner.load_checkpoint(checked(args.checkpoint), map_location='cpu', strict=True)
    metrics = runner.test()
    if is_main_process():
        class_iou = {}
        for metric in runner.test_loop.evaluator.metrics:
            class_iou |= getattr(metric, 'class_iou', {})
        write_metrics(Path(cfg.work_dir) / f'{name_of(args)}.json', metrics, class_iou, args)
    finish_launch()


if __name__ == '__main__':
    main()
