"""Both stages in one command: ``python tools/run_two_stage.py CAM_CONFIG SEG_CONFIG --work-dir DIR``.

Trains the first stage, labels its training images, trains the second stage on these labels, and tests both; a first
stage that needs no training, such as CLIPCAM, only labels. With ``--fully`` the fully supervised counterpart of the
second stage is trained too. Prints a table and saves it as DIR/README.md. Each command is printed before it runs, and
the first one that fails ends the run. A second call continues: trainings from their latest checkpoint, labelling with
the missing images; complete results are kept. Other configs or options need another DIR. Other options, after the
configs, are those of ``tools/make_pseudo_labels.py``: by default ``--refine crf-labels`` and, if the first stage has
CAMs and its test set masks, ``--sweep`` on the images that are labelled.
"""

import argparse
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction

TOOLS = Path(__file__).resolve().parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; options that it does not know are ``labels``, those of the label tool."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add('cam_config', type=Path, help='config of the first stage: a network with CAMs, or any mmseg network')
    add('seg_config', type=Path, help='config of the second stage, trained on masks')
    add('--fully', dest='fully_config', type=Path, metavar='CONFIG', help='train and test the counterpart too')
    add('--work-dir', type=Path, required=True, metavar='DIR', help='where everything goes')
    add('--seed', type=int, default=0, help='of every training (default: 0)')
    for stage in ('cam', 'seg', 'fully'):
        text = 'override values of this config'
        add(f'--{stage}-options', dest=stage, nargs='+', default=(), metavar='KEY=VALUE', help=text)
    args, args.labels = parser.parse_known_args(argv)
    for path in filter(None, (args.cam_config, args.seg_config, args.fully_config)):
        if not path.is_file():
            parser.error(f'there is no config {path}')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.engine import read_config
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.pseudo_labels import choose_source
from mmseg_wsss.text_files import read_json


def call(tool: str, *arguments: object) -> dict[str, float]:
    """Print a command and run it; returns its seconds with those of its processes, and its own peak memory in MiB.

    Raises:
        SystemExit: it failed; the message names it.
    """
    command, start = [sys.executable, str(TOOLS / tool), *map(str, arguments)], time.monotonic()
    print(f'\n$ {shlex.join(command)}', flush=True)
    peak, pid = 0, 0
    with subprocess.Popen(command) as process:
        try:
            while not pid:
                peak = max(peak, peak_memory(process.pid))
                time.sleep(0.1)
                pid, status, used = os.wait4(process.pid, os.WNOHANG)
        except BaseException:
            process.kill()
            raise
    if status:
        raise SystemExit(
            f'error: exit status {os.waitstatus_to_exitcode(status)} of\n  {shlex.join(command)}\n'
            'The same call continues from there.'
        )
    seconds = {'wall': time.monotonic() - start, 'CPU': used.ru_utime + used.ru_stime}
    return {**{f'{name} s': round(value, 1) for name, value in seconds.items()}, 'peak MiB': peak}


def peak_memory(pid: int) -> int:
    """The most memory that a running process has had, in MiB; 0 where the system does not say.

    The system's account of a process that has ended includes the memory of the one that started it.
    """
    try:
        found = re.search(r'VmHWM:\s*(\d+) kB', Path(f'/proc/{pid}/status').read_text())
    except OSError:
        found = None
    return int(found[1]) >> 10 if found else 0


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
    """A config with the options of the command line, and the folder where it is trained and tested.

    ``run`` runs a tool with its arguments: by default ``call``.

    Raises:
        SystemExit: the config has no training images.
    """

    def __init__(
        self, config: Path, options: Sequence[str], folder: Path, run: Callable[..., object] | None = None
    ) -> None:
        self.config, self.folder, self.run = config, folder, run or call
        self.options = ['--cfg-options', *options] if options else []
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', default={}, action=DictAction)
        self.cfg = read_config(config, parser.parse_args(self.options).cfg_options)
        if self.cfg.get('train_dataloader') is None:
            raise SystemExit(
                f'error: {config} has no train_dataloader: label its images with tools/make_pseudo_labels.py, then '
                'train on the labels with tools/train.py'
            )
        self.images = self.cfg.train_dataloader.dataset
        self.is_trained = getattr(MODELS.get(self.cfg.model.type), 'needs_checkpoint', True)
        tested = (self.cfg.get('test_dataloader') or {}).get('dataset') or {}
        self.has_masks = bool((tested.get('data_prefix') or {}).get('seg_map_path'))

    def train(self, seed: int, masks: Path | None = None) -> Path | None:
        """Train unless that is done, on these masks if some are given; returns the last checkpoint.

        None is the checkpoint of a network that needs none.
        """
        if not self.is_trained:
            return None
        options = self.options
        if masks is not None:
            key = 'mask_dir' if 'mask_dir' in self.images else 'data_prefix.seg_map_path'
            options = [*(options or ['--cfg-options']), f'train_dataloader.dataset.{key}={masks.resolve()}']
        if last_checkpoint(self.folder, self.cfg) is None:
            self.run('train.py', self.config, '--work-dir', self.folder, '--resume', '--seed', seed, *options)
        return last_checkpoint(self.folder, self.cfg)

    def test(self, checkpoint: Path | None, *flags: str) -> dict[str, float | None]:
        """Test unless there are no masks or there is a result newer than the checkpoint; returns the metrics."""
        if not self.has_masks:
            return {}
        result = self.folder / f'test{"".join(flags).replace("--", "_")}.json'
        if not is_newer(result, checkpoint or self.config):
            tested = filter(None, [self.config, checkpoint])
            self.run('test.py', *tested, '--work-dir', self.folder, *flags, *self.options)
        return read_json(result)['metrics']

    def segmentation(self, checkpoint: Path | None) -> dict[str, float]:
        """mIoU of the segmentation by how it was tested."""
        tests = {'single scale': ()}
        if self.cfg.get('tta_model') is not None:
            tests |= {'multi-scale': ('--tta',), 'multi-scale + CRF': ('--tta', '--crf')}
        metrics = {how: self.test(checkpoint, *flags) for how, flags in tests.items()}
        return {f'segmentation, {how}': one.get('seg/mIoU', one.get('mIoU')) for how, one in metrics.items() if one}


def label_options(cam: Stage, out: Path, given: Sequence[str]) -> tuple[list[str], argparse.Namespace]:
    """All options of the label tool, as text and as it reads them.

    Raises:
        SystemExit: the tool refuses them, or they are not to be given here.
    """
    sweep = choose_source(cam.cfg.model) == 'cam' and cam.has_masks
    sweep = sweep and not any(one.startswith('--threshold') for one in given)
    labels = ['--out', str(out), '--images', 'train', '--refine', 'crf-labels', *['--sweep'] * sweep, *given]
    check = runpy.run_path(str(TOOLS / 'make_pseudo_labels.py'))['parse_args']
    wanted = check([str(cam.config), str(cam.config), *labels])
    fixed = dict(out=str(out), images='train', source=None, shard=None, launcher='none', cfg_options=None)
    if any(getattr(wanted, name) != value for name, value in fixed.items()):
        raise SystemExit(f'error: not to be given here: --{", --".join(fixed)}'.replace('_', '-'))
    if sweep and not (wanted.split or wanted.sweep_split):
        labels += ['--sweep-split', cam.images.get('ann_file', '')]
    return labels, wanted


def label_quality(seg: Stage, out: Path, split: str | None) -> dict[str, str]:
    """The labels compared with ground truth, where the second stage's training set names it."""
    masks = (seg.images.get('data_prefix') or {}).get('ground_truth_path')
    if masks is None:
        return {}
    root, listed = Path(seg.images.get('data_root') or ''), split or seg.images.get('ann_file')
    names = ['--split', root / listed if (root / listed).is_file() else listed] if listed else []
    if not is_newer(out / 'iou.json', out / 'report.json'):
        call('analysis_tools/mask_iou.py', out, root / masks, *names)
    return {'pseudo-labels': f'{read_json(out / "iou.json")["mIoU"]:.1f}'}


def run_two_stage(
    cam_config: Path, seg_config: Path, work_dir: Path, *, fully_config: Path | None = None, seed: int = 0,
    labels: Sequence[str] = (), **options: Sequence[str],
) -> str:  # fmt: skip
    """Do what is left to do; returns the table.

    Args:
        cam_config, seg_config, fully_config: First and second stage and, where wanted, the counterpart.
        work_dir: Folder of everything.
        seed: Of every training.
        labels: Options of ``make_pseudo_labels.py``.
        **options: ``cam``, ``seg``, ``fully``: KEY=VALUE that override values of this config.

    Raises:
        SystemExit: the stages or options do not go together, or a command failed.
    """
    configs = {'cam': cam_config, 'seg': seg_config, 'fully': fully_config}
    stages = {name: Stage(path, options.get(name, ()), work_dir / name) for name, path in configs.items() if path}
    cam, seg, out = stages['cam'], stages['seg'], work_dir / 'labels'
    # Check first what would otherwise fail after hours: stages that do not fit each other, wrong options, no CRF.
    classes = [one.images.get('classes') for one in stages.values()]
    if any(list(one or ()) != list(classes[0] or ()) for one in classes):
        raise SystemExit(f'error: the stages have different classes: {classes}')
    init_default_scope(cam.cfg.get('default_scope', 'mmseg'))
    labels, wanted = label_options(cam, out, labels)
    if seg.has_masks or wanted.refine.startswith('crf'):
        MODELS.build({'type': 'DenseCRF'})

    checkpoint = cam.train(seed)
    metrics = cam.test(checkpoint)
    rows = {f'first stage, {key}': f'{value:.1f}' for key, value in metrics.items() if key.endswith('mIoU') and value}
    call('make_pseudo_labels.py', *filter(None, [cam.config, checkpoint]), *labels, *cam.options)
    found = read_json(out / 'manifest.json')['found']
    if 'mIoU' in found:
        rows['CAM, images of the sweep'] = f'{found["mIoU"]:.1f} (at {found["threshold"]:.2f})'
    rows |= label_quality(seg, out, wanted.split)
    values = seg.segmentation(seg.train(seed, out / 'SegmentationClass'))
    bounds = stages['fully'].segmentation(stages['fully'].train(seed)) if fully_config else {}
    for name, value in values.items():
        bound = f'{bounds[name]:.1f} ({100 * value / bounds[name]:.1f} %)' if name in bounds else ''
        rows[name] = f'{value:.1f} | {bound}'
    table = '| mIoU in % | two stages | fully supervised counterpart (share of it) |\n|---|--:|--:|\n'
    table += ''.join(f'| {name} | {row} |{"" if "|" in row else "  |"}\n' for name, row in rows.items())
    table = table if rows else 'The test sets have no masks, so nothing was measured.\n'
    about = ', '.join(one.config.stem for one in stages.values())
    write_text(work_dir / 'README.md', f'{table}\n{about}; seed {seed}.\n')
    return table


def main(argv: list[str] | None = None) -> None:
    """Do what is left to do, print the table."""
    args = parse_args(argv)
    if problem := unwritable(args.work_dir):
        sys.exit(f'error: --work-dir {problem}')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the running command ends too
    print(f'\n{run_two_stage(**vars(args))}\nThis table: {args.work_dir / "README.md"}')


if __name__ == '__main__':
    main()
