"""`make demo`: trains on drawn scenes and their tags, tests, leaves a table and a report with pictures.

    python demo/run.py                                   a classifier alone and ToCo, beside each other
    python demo/run.py --full                            ToCo with the dense energy too
    python demo/run.py --method weaktr                   the two stages of WeakTr, by tools/run_two_stage.py
    python demo/run.py --data path/to/VOCdevkit          real images with tags, DeiT-Tiny

The same by make: ``make demo``, ``make demo FULL=1``, ``make demo DATA=path/to/VOCdevkit WEIGHTS=vit.pth ITERS=600``.
A second call does what is left to do; other options have another folder.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

from demo import scenes, voc  # noqa: E402
from mmseg_wsss.text_files import read_json  # noqa: E402
from tools.run_two_stage import is_newer, last_checkpoint  # noqa: E402

DRAWN = {
    'classifier': 'toco/toco_vit-demo_drawn-scenes_cls-only.py',
    'toco': 'toco/toco_vit-demo_drawn-scenes.py',
    'toco_reg': 'toco/toco_vit-demo_drawn-scenes_reg.py',
    'cam': 'weaktr/weaktr-cam_vit-demo_drawn-scenes.py',
    'seg': 'weaktr/weaktr-seg_vit-demo_drawn-scenes.py',
}
REAL = {
    'classifier': 'toco/cls-only_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'toco': 'toco/toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'cam': 'weaktr/weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py',
    'seg': 'weaktr/weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py',
}
REAL_ITERS = 600
TITLES = {'classifier': 'classifier', 'toco': 'ToCo', 'toco_reg': 'ToCo + dense energy'}
ROWS = (
    ('CAM, threshold 0.5', 'test', 'cam/mIoU'),
    ('CAM, best threshold', 'test', 'cam/best_mIoU'),
    ('auxiliary CAM, threshold 0.5', 'test', 'cam_aux/mIoU'),
    ('auxiliary CAM, best threshold', 'test', 'cam_aux/best_mIoU'),
    ('segmentation, single scale', 'test', 'seg/mIoU'),
    ('segmentation, multi-scale + CRF', 'test_tta_crf', 'seg/mIoU'),
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument('--method', choices=['toco', 'weaktr'], default='toco', help='METHOD= (default: toco)')
    parser.add_argument('--full', action='store_true', help='FULL=1: ToCo with the dense energy too')
    parser.add_argument('--data', help='DATA=: folder in VOC layout: VOCdevkit, VOCdevkit/VOC2012 or your own')
    parser.add_argument(
        '--weights', help='WEIGHTS=: pretrained ViT-Tiny/16 for --data: file or URL (default: DeiT-Tiny)'
    )
    parser.add_argument('--iters', type=int, help='ITERS=: iterations of each training')
    parser.add_argument('--seed', type=int, default=0, help='of all trainings; the scenes stay the same')
    parser.add_argument('--out', type=Path, help='where everything goes (default: work_dirs/demo...)')
    args = parser.parse_args(argv)
    if args.weights and not args.data:
        parser.error('--weights goes with --data: the drawn scenes have their own tiny ViT (demo/tiny_vit.pth)')
    if args.weights and '://' not in args.weights and not Path(args.weights).is_file():
        parser.error(f'--weights {args.weights} is neither a file nor a URL')
    if args.full and (args.data or args.method != 'toco'):
        parser.error('--full is for ToCo on the drawn scenes')
    if args.iters is not None and args.iters < 1:
        parser.error(f'--iters must be at least 1, got {args.iters}')
    if args.out is None:
        parts = [args.method] * (args.method != 'toco') + ['real'] * bool(args.data)
        parts += [f'{args.iters}iters'] * bool(args.iters) + [f'seed{args.seed}'] * bool(args.seed)
        args.out = Path('work_dirs') / '_'.join(['demo', *parts])
    return args


def write_config(name: str, args: argparse.Namespace, layout: voc.Layout | None) -> Path:
    """The shipped config of a training with this run's number of iterations and images."""
    cfg = Config.fromfile(ROOT / 'configs' / (DRAWN if layout is None else REAL)[name])
    usual = cfg.train_cfg.max_iters
    iters = args.iters or (usual if layout is None else REAL_ITERS)
    # no validation: the test comes right after the training
    cfg.train_cfg = dict(cfg.train_cfg, max_iters=iters, val_begin=iters + 1)
    for one in cfg.param_scheduler:
        one.update(begin=one.begin * iters // usual, end=max(1, one.end * iters // usual))
    if 'starts' in cfg.model:
        cfg.model.starts = {loss: at * iters // usual for loss, at in cfg.model.starts.items()}
    if layout is not None:
        voc.use(layout, cfg, args.weights)
    path = args.out / f'{name}.py'
    args.out.mkdir(parents=True, exist_ok=True)
    cfg.dump(path)
    return path


def call(title: str, log: Path, *command: str | Path) -> None:
    """Run a Python command on one thread; its output goes to the log, its progress and the command are shown.

    Raises:
        SystemExit: it failed; the end of the log is shown.
    """
    command = [sys.executable, *map(str, command)]
    print(f'{title}: {shlex.join(command)}', flush=True)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))  # this clone's package
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONUNBUFFERED='1', PYTHONWARNINGS='ignore', PYTHONPATH=paths)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open('w', encoding='utf-8') as file,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8'
        ) as process,
    ):
        for line in process.stdout:
            file.write(line)
            if progress := re.search(r'Iter\((train|test)\) +\[ *\d+/\d+\]|^(\$ |pseudo-labels |sweep ).*', line):
                eta = re.search(r' eta: \S+', line)
                print(f'{title}: {progress[0]}{eta[0] if eta else ""}', flush=True)
    if process.returncode:
        print(''.join(log.read_text(encoding='utf-8').splitlines(keepends=True)[-25:]), file=sys.stderr)
        raise SystemExit(f'error: exit status {process.returncode} of\n  {shlex.join(command)}\nIts log is {log}.')


def train_and_test(method: str, config: Path, args: argparse.Namespace) -> dict[str, dict]:
    """Train, test and paint what is not there yet; the metrics of the tests by name."""
    folder, cfg = args.out / method, Config.fromfile(config)
    tool = ('-m', 'demo.tool')  # attention that suits short sequences
    if last_checkpoint(folder, cfg) is None:
        arguments = (config, '--work-dir', folder, '--resume', '--seed', args.seed)
        call(method, folder / 'train.txt', *tool, 'tools/train.py', *arguments)
    checkpoint = last_checkpoint(folder, cfg)
    tests = {'test': ()} if method == 'classifier' else {'test': (), 'test_tta_crf': ('--tta', '--crf')}
    for name, flags in tests.items():
        if not is_newer(folder / f'{name}.json', checkpoint):
            arguments = (config, checkpoint, '--work-dir', folder, *flags)
            call(method, folder / f'{name}.txt', *tool, 'tools/test.py', *arguments)
    if method == 'toco' and not is_newer(report := args.out / 'report.html', checkpoint):
        arguments = (folder, '--out', report)
        call(method, folder / 'report.txt', *tool, 'tools/analysis_tools/report.py', *arguments)
    return {name: read_json(folder / f'{name}.json')['metrics'] for name in tests}


def table(numbers: dict[str, dict[str, dict]]) -> str:
    """mIoU by method -> test -> metric of ``CAMIoUMetric``, as markdown."""
    lines = [f'| mIoU in % | {" | ".join(TITLES[method] for method in numbers)} |', '|---' * (len(numbers) + 1) + '|']
    for title, test, key in ROWS:
        cells = []
        for method, tests in numbers.items():
            # The baseline's decoder was never trained: its segmentation is no result.
            value = None if method == 'classifier' and key.startswith('seg') else tests.get(test, {}).get(key)
            cells.append('-' if value is None else f'{value:.1f}')
        lines.append(f'| {title} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def toco(args: argparse.Namespace, layout: voc.Layout | None) -> None:
    """The classifier and ToCo, two trainings at a time; writes the table."""
    methods = ['toco', 'classifier'] + ['toco_reg'] * args.full
    configs = {method: write_config(method, args, layout) for method in methods}
    with ThreadPoolExecutor(2) as threads:
        jobs = {method: threads.submit(train_and_test, method, config, args) for method, config in configs.items()}
        numbers = {method: jobs[method].result() for method in TITLES if method in jobs}
    cfg = Config.fromfile(configs['toco'])
    about = f'{cfg.train_cfg.max_iters} iterations of {cfg.train_dataloader.batch_size} images; seed {args.seed}.'
    text = f'{table(numbers)}\n\nCAMs are multiplied by the tags of the image, the segmentation sees none. {about}\n'
    (args.out / 'README.md').write_text(f'{text}\n[Images, CAMs, pseudo-labels, predictions](report.html)\n')
    print(f'\n{text}')


def weaktr(args: argparse.Namespace, layout: voc.Layout | None) -> None:
    """Both stages by the tool that does them; it writes the table."""
    cam, seg = (write_config(stage, args, layout) for stage in ('cam', 'seg'))
    background = ('--threshold', '0.4')
    if layout is None:  # the masks of 100 training scenes choose it
        names = (scenes.HOME / 'ImageSets/Segmentation/train.txt').read_text().split()[:100]
        (args.out / 'sweep.txt').write_text('\n'.join(names))
        background = ('--sweep-split', (args.out / 'sweep.txt').resolve())
    arguments = (cam, seg, '--work-dir', args.out, '--seed', args.seed, *background)
    call('weaktr', args.out / 'log.txt', 'tools/run_two_stage.py', *arguments)
    second = last_checkpoint(args.out / seg.stem, Config.fromfile(seg))
    if not is_newer(report := args.out / 'report.html', second):
        arguments = (args.out, '--out', report, '--refine', 'crf-labels')
        call('weaktr', args.out / 'report.txt', 'tools/analysis_tools/report.py', *arguments)
    print(f'\n{(args.out / "README.md").read_text()}')


def main(argv: list[str] | None = None) -> None:
    """Draw the scenes, do what is left to do, print the table."""
    args = parse_args(argv)
    try:
        layout = voc.find(args.data) if args.data else None
    except ValueError as error:  # voc.DataError is one
        raise SystemExit(f'error: {error}') from None
    if layout is None:
        print(f'scenes: {scenes.write(scenes.HOME)} (1,200 to train on, 200 to test on)')
    {'toco': toco, 'weaktr': weaktr}[args.method](args, layout)
    print(f'This table: {args.out / "README.md"}   report: {args.out / "report.html"}')


if __name__ == '__main__':
    main()
