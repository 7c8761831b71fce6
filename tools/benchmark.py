"""Train, label and test all runs of a plan: ``python tools/benchmark.py PLAN.yml --work-dir DIR [RUN ...]``.

What is done is kept: a second call continues where the first one ended. Every step is a call of one of the other tools,
which is printed, and leaves a line in ``DIR/RUN/SEED/steps.jsonl``: the command, its CPU and wall seconds, its peak
memory, commit and date. ``tools/analysis_tools/benchmark_table.py`` makes the table. Two calls at once, with different
runs or seeds, share the work.

A plan::

    data_root: data/VOCdevkit/VOC2012
    train: ImageSets/Segmentation/train.txt   # images with masks: settings are chosen on these
    ground_truth: SegmentationClass           # their masks
    runs:
      cam: {config: configs/CAM.py, labels: [--sweep, --refine, crf-labels], tests: [train]}
      seg: {config: configs/SEG.py, masks: cam, tests: [val], seeds: [0, 1, 2], title: CAM -> SEG}

- ``config``: trained, unless the network needs no training or ``network`` names a run whose trained network it is.
- ``combine``: no config, but runs whose labels ``combine_pseudo_labels.py`` combines; ``labels`` are its options.
- ``masks``: the run whose labels it is trained on; it is done first, for the same seed or for its only one.
- ``labels``: options of ``make_pseudo_labels.py`` for its training images; compared with the ground truth of ``train``.
- ``tests``: ``val``, the config's test set (at several scales and with the CRF too, where the config has them), and
  ``train``, at a single scale.
- ``options``: KEY=VALUE that override values of the config; ``seeds``: by default 0.
- ``title``, ``counterpart``: for the table: the name of the row, and the run on ground-truth masks to compare with.
"""

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('plan', type=Path, help='YAML file')
    add('runs', nargs='*', metavar='RUN', help='with those that they need (default: all)')
    add('--work-dir', type=Path, required=True, metavar='DIR', help='where everything goes')
    add('--seeds', nargs='+', type=int, metavar='N', help='only these')
    add('--weights', nargs='+', default=[], metavar='NAME=FILE', help='local files of names of docs/weights.md')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmengine import load
from mmengine.utils import get_git_hash
from run_two_stage import Stage, call, is_newer, last_checkpoint

from mmseg_wsss.checkpoints.zoo import find
from mmseg_wsss.engine import read_config
from mmseg_wsss.fileio import unwritable

KEYS = {'config', 'network', 'combine', 'options', 'masks', 'labels', 'tests', 'seeds', 'title', 'counterpart'}


def read_plan(path: Path) -> dict:
    """The plan, with all keys of every run.

    Raises:
        SystemExit: it has an unknown key, or a run that is not there is named.
    """
    plan, defaults = load(path), {'options': [], 'tests': [], 'seeds': [0]}
    runs = plan['runs'] = {name: defaults | run for name, run in plan['runs'].items()}
    for name, run in runs.items():
        if wrong := run.keys() - KEYS:
            raise SystemExit(f'error: {path}: run {name}: there is no key {", ".join(wrong)}, only {", ".join(KEYS)}')
        if 'combine' not in run and not Path(run['config']).is_file():
            raise SystemExit(f'error: {path}: run {name}: there is no config {run["config"]}')
        for source in [*([run['masks']] if 'masks' in run else []), *run.get('combine', [])]:
            if 'labels' not in runs.get(source, {}):
                raise SystemExit(f'error: {path}: run {name}: {source} is no run with labels')
        for key in ('network', 'counterpart'):
            if key in run and run[key] not in runs:
                raise SystemExit(f'error: {path}: run {name}: {key}: there is no run {run[key]}')
    return plan


def recorded(file: Path, known: dict[str, object], tool: str, *arguments: object) -> None:
    """Run a tool and add the line of what it took."""
    file.parent.mkdir(parents=True, exist_ok=True)
    used = call(tool, *arguments)
    line = {
        **known,
        'command': shlex.join(['python', f'tools/{tool}', *map(str, arguments)]),
        'commit': get_git_hash(digits=7),
        'date': datetime.now(timezone.utc).isoformat(timespec='minutes'),
        **used,
    }
    with file.open('a') as lines:
        lines.write(json.dumps(line) + '\n')


class Benchmark:
    """The runs of a plan in a folder."""

    def __init__(self, plan: dict, folder: Path, weights: dict[str, str]) -> None:
        self.plan, self.runs, self.folder, self.weights = plan, plan['runs'], folder, weights
        self.root = Path(plan['data_root'])

    def do(self, name: str, seed: int) -> None:
        """Everything of a run that is not done, after the run whose labels it needs."""
        run, folder = self.runs[name], self.folder / name / str(seed)
        tool = partial(recorded, folder / 'steps.jsonl', {'run': name, 'seed': seed})
        if 'combine' in run:
            self._combine([self._done(source, seed) / 'labels' for source in run['combine']], run, folder, tool)
            return
        stage = self._stage(run, folder, tool)
        if 'network' in run:
            checkpoint = last_checkpoint(self._done(run['network'], seed), stage.cfg)
        else:
            masks = self._done(run['masks'], seed) / 'labels' / 'SegmentationClass' if 'masks' in run else None
            checkpoint = stage.train(seed, masks)
        if 'train' in run['tests']:
            images = f'test_dataloader.dataset.ann_file={self.plan["train"]}'
            self._stage(run, folder / 'train', tool, images).test(checkpoint)
        if 'labels' in run:
            self._label(stage, checkpoint, run['labels'], folder / 'labels')
        if 'val' in run['tests']:
            stage.segmentation(checkpoint)

    def _done(self, name: str, seed: int) -> Path:
        """The folder of another run after it is done, for this seed or its only one."""
        seeds = self.runs[name]['seeds']
        same = seed if seed in seeds else seeds[0]
        self.do(name, same)
        return self.folder / name / str(same)

    def _combine(self, sources: list[Path], run: dict, folder: Path, tool: Callable) -> None:
        """Combine labels unless that is done, and compare."""
        out = folder / 'labels'
        if not all(is_newer(out / 'report.json', source / 'report.json') for source in sources):
            tool('combine_pseudo_labels.py', *sources, *run['labels'], '--out', out)
        self._compare(out, tool)

    def _stage(self, run: dict, folder: Path, tool: Callable, *options: str) -> Stage:
        """The network with the options of the run, its weights from a local file if there is one."""
        backbone = read_config(run['config']).model.get('backbone') or {}
        entry = find((backbone.get('init_cfg') or {}).get('checkpoint', '').removeprefix('checked:'))
        if entry is not None and entry.name in self.weights:
            options = (f'model.backbone.init_cfg.checkpoint={self.weights[entry.name]}', *options)
        return Stage(Path(run['config']), [*run['options'], *options], folder, tool)

    def _label(self, stage: Stage, checkpoint: Path | None, options: list[str], out: Path) -> None:
        """Label what is left and compare with the ground truth of the images of ``train``."""
        report = out / 'report.json'
        if not is_newer(report, checkpoint or stage.config):
            labelled = [*filter(None, [stage.config, checkpoint]), '--images', 'train', *options, '--out', out]
            stage.run('make_pseudo_labels.py', *labelled, *stage.options)
        self._compare(out, stage.run)

    def _compare(self, out: Path, tool: Callable) -> None:
        """Labels with the ground truth of the images of ``train``."""
        if not is_newer(out / 'iou.json', out / 'report.json'):
            truth, split = self.root / self.plan['ground_truth'], self.root / self.plan['train']
            tool('analysis_tools/mask_iou.py', out, truth, '--split', split)


def main(argv: list[str] | None = None) -> None:
    """Do what is left to do."""
    args = parse_args(argv)
    if problem := unwritable(args.work_dir):
        sys.exit(f'error: --work-dir {problem}')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the running command ends too
    plan = read_plan(args.plan)
    benchmark = Benchmark(plan, args.work_dir, dict(one.split('=', 1) for one in args.weights))
    if unknown := set(args.runs) - plan['runs'].keys():
        sys.exit(f'error: {args.plan} has no run {", ".join(sorted(unknown))}, only {", ".join(plan["runs"])}')
    for name in args.runs or plan['runs']:
        for seed in plan['runs'][name]['seeds']:
            if seed in (args.seeds or [seed]):
                benchmark.do(name, seed)


if __name__ == '__main__':
    main()
