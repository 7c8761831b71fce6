"""Both stages in one command: ``python tools/run_two_stage.py CAM_CONFIG SEG_CONFIG --work-dir DIR``.

Trains the first stage, labels its training images, trains the second stage on these labels, and tests both; with
``--fully`` the fully supervised counterpart of the second stage too. Prints a table and saves it as DIR/README.md. Each
command is printed before it runs, and the first one that fails ends the run. A second call continues: trainings from
their latest checkpoint, labelling with the missing images; complete results are kept. Other configs or options need
another DIR.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.fileio import whole_file
from mmseg_wsss.pseudo_labels import choose_source

TOOLS = Path(__file__).resolve().parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('cam_config', type=Path, help='config of the first stage: a network with CAMs, or any mmseg network')
    add('seg_config', type=Path, help='config of the second stage, trained on masks')
    add('--fully', type=Path, metavar='CONFIG', help='train and test the fully supervised counterpart too')
    add('--work-dir', type=Path, required=True, metavar='DIR', help='where everything goes')
    add('--seed', default='0', help='of every training (default: 0)')
    for stage in ('cam', 'seg', 'fully'):
        add(f'--{stage}-options', nargs='+', default=[], metavar='KEY=VALUE', help='override values of this config')
    labels = parser.add_argument_group('pseudo-labels (see tools/make_pseudo_labels.py)')
    labels.add_argument('--split', metavar='FILE', help="images to label (default: the first stage's training list)")
    background = labels.add_mutually_exclusive_group()
    background.add_argument('--threshold', type=float, metavar='X', help='background threshold of the CAMs')
    background.add_argument(
        '--sweep-split', metavar='FILE', help='images with masks to choose it on (default: those that are labelled)'
    )
    labels.add_argument('--refine', default='crf-labels', choices=['none', 'par', 'crf-labels', 'crf-scores'])
    labels.add_argument('--workers', default='0', metavar='N', help='processes that refine and write (default: 0)')
    args = parser.parse_args(argv)
    for path in filter(None, (args.cam_config, args.seg_config, args.fully)):
        if not path.is_file():
            parser.error(f'there is no config {path}')
    if args.threshold is not None and not 0 <= args.threshold < 1:
        parser.error(f'--threshold must be in [0, 1), got {args.threshold}')
    return args


def call(tool: str, *arguments: str | Path) -> None:
    """Print a command and run it.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, str(TOOLS / tool), *map(str, arguments)]
    print(f'\n$ {shlex.join(command)}', flush=True)
    status = subprocess.run(command, check=False).returncode
    if status:
        raise SystemExit(
            f'error: exit status {status} of\n  {shlex.join(command)}\nThe same call continues from there.'
        )


def is_newer(result: Path, source: Path) -> bool:
    """Whether the result exists and is newer than its inputs."""
    return result.is_file() and result.stat().st_mtime >= source.stat().st_mtime


def last_checkpoint(folder: Path, cfg: Config) -> Path | None:
    """The last checkpoint of a complete training with this config; None if it is not complete."""
    last, loop = folder / 'last_checkpoint', cfg.train_cfg
    name = Path(last.read_text()).name if last.is_file() else ''
    end = loop.get('max_iters') or loop.max_epochs
    return folder / name if Path(name).stem.split('_')[-1] == str(end) else None


class Stage:
    """A config with the options of the command line, and the folder where it is trained and tested."""

    def __init__(self, config: Path, options: list[str], folder: Path) -> None:
        self.config, self.folder = config, folder
        self.options = ['--cfg-options', *options] if options else []
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', default={}, action=DictAction)
        self.cfg = Config.fromfile(config)
        self.cfg.merge_from_dict(parser.parse_args(self.options).cfg_options)

    def train(self, seed: str, *, masks: Path | None = None) -> Path:
        """Train unless that is done, on these masks if some are given; returns the last checkpoint."""
        options = self.options
        if masks is not None:
            key = 'mask_dir' if 'mask_dir' in self.cfg.train_dataloader.dataset else 'data_prefix.seg_map_path'
            options = [*(options or ['--cfg-options']), f'train_dataloader.dataset.{key}={masks.resolve()}']
        if last_checkpoint(self.folder, self.cfg) is None:
            call('train.py', self.config, '--work-dir', self.folder, '--resume', '--seed', seed, *options)
        return last_checkpoint(self.folder, self.cfg)

    def test(self, checkpoint: Path, *flags: str) -> dict[str, float | None]:
        """Test unless there is a result newer than the checkpoint; returns the metrics."""
        result = self.folder / f'test{"".join(flags).replace("--", "_")}.json'
        if not is_newer(result, checkpoint):
            call('test.py', self.config, checkpoint, '--work-dir', self.folder, *flags, *self.options)
        return json.loads(result.read_text(encoding='utf-8'))['metrics']

    def segmentation(self, checkpoint: Path) -> dict[str, float]:
        """mIoU of the segmentation by how it was tested."""
        tests = {'single scale': ()}
        if self.cfg.get('tta_model') is not None:
            tests |= {'multi-scale': ('--tta',), 'multi-scale + CRF': ('--tta', '--crf')}
        metrics = {how: self.test(checkpoint, *flags) for how, flags in tests.items()}
        return {f'segmentation, {how}': one.get('seg/mIoU', one.get('mIoU')) for how, one in metrics.items()}


def label(args: argparse.Namespace, stage: Stage, checkpoint: Path) -> dict[str, str]:
    """Label the first stage's training images; what the sweep of thresholds found, for the table."""
    out, found = args.work_dir / 'labels', args.work_dir / 'labels/manifest.json'
    split, background = ['--split', args.split] if args.split else [], []
    if choose_source(stage.cfg.model) == 'cam':  # a segmentation has its own background
        listed = args.sweep_split or args.split or stage.cfg.train_dataloader.dataset.get('ann_file', '')
        background = ['--sweep', '--sweep-split', listed] if args.threshold is None else ['--threshold', args.threshold]
    more = [*background, '--refine', args.refine, '--workers', args.workers, *stage.options]
    call('make_pseudo_labels.py', stage.config, checkpoint, '--out', out, '--images', 'train', *split, *more)
    one = json.loads(found.read_text(encoding='utf-8'))['found']
    return {'CAM, images of the sweep': f'{one["mIoU"]:.1f} (at {one["threshold"]:.2f})'} if 'mIoU' in one else {}


def compare(labels: Path, dataset: Config, split: str | None) -> dict[str, str]:
    """Compare the labels with ground truth, where the second stage's training set names it."""
    ground_truth = (dataset.get('data_prefix') or {}).get('ground_truth_path')
    if ground_truth is None:
        return {}
    root, split = Path(dataset.get('data_root') or ''), split or dataset.get('ann_file')
    names = ['--split', next(path for path in (root / split, Path(split)) if path.is_file())] if split else []
    if not is_newer(labels / 'iou.json', labels / 'report.json'):
        call('analysis_tools/mask_iou.py', labels, root / ground_truth, *names)
    return {'pseudo-labels': f'{json.loads((labels / "iou.json").read_text())["mIoU"]:.1f}'}


def main(argv: list[str] | None = None) -> None:
    """Run the remaining steps, print the table."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the running command ends too
    cam = Stage(args.cam_config, args.cam_options, args.work_dir / 'cam')
    seg = Stage(args.seg_config, args.seg_options, args.work_dir / 'seg')
    fully = Stage(args.fully, args.fully_options, args.work_dir / 'fully') if args.fully else None
    # Check first what would otherwise fail after hours: stages that do not fit each other, no CRF.
    classes = [one.cfg.train_dataloader.dataset.get('classes') for one in (cam, seg, fully or seg)]
    if any(list(one or ()) != list(classes[0] or ()) for one in classes):
        raise SystemExit(f'error: the stages have different classes: {classes}')
    init_default_scope(cam.cfg.get('default_scope', 'mmseg'))
    MODELS.build({'type': 'DenseCRF'})

    checkpoint = cam.train(args.seed)
    metrics = cam.test(checkpoint)
    rows = {f'first stage, {key}': f'{value:.1f}' for key, value in metrics.items() if key.endswith('mIoU') and value}
    rows |= label(args, cam, checkpoint)
    rows |= compare(args.work_dir / 'labels', seg.cfg.train_dataloader.dataset, args.split)
    values = seg.segmentation(seg.train(args.seed, masks=args.work_dir / 'labels/SegmentationClass'))
    bounds = fully.segmentation(fully.train(args.seed)) if fully else {}
    for name, value in values.items():
        rows[name] = f'{value:.1f}'
        if name in bounds:
            rows[name] += f' | {bounds[name]:.1f} ({100 * value / bounds[name]:.1f} %)'
    table = '| mIoU in % | two stages | fully supervised counterpart (share of it) |\n|---|--:|--:|\n'
    table += ''.join(
        f'| {name} | {row} |\n' if '|' in row else f'| {name} | {row} |  |\n' for name, row in rows.items()
    )
    configs = ', '.join(one.config.stem for one in (cam, seg, fully) if one)
    with whole_file(args.work_dir / 'README.md') as temporary:
        temporary.write_text(f'{table}\n{configs}; seed {args.seed}.\n', encoding='utf-8')
    print(f'\n{table}\nThis table: {args.work_dir / "README.md"}')


if __name__ == '__main__':
    main()
