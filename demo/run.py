"""`make demo`: trains a plain classifier and ToCo on the same images and tags, tests both, leaves a table and pictures.

    python demo/run.py                                   drawn scenes; under 10 minutes on 2 cores, no download
    python demo/run.py --data path/to/VOCdevkit          real images with tags, DeiT-Tiny

The same by make: ``make demo``, ``make demo DATA=path/to/VOCdevkit WEIGHTS=vit.pth ITERS=600``. Results are in
work_dirs/demo (README.md and page.png), for real images in work_dirs/demo_real. A second call does what is left to do.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import mmseg_wsss  # noqa: E402, F401  (mends version gaps before mmseg is imported)
from demo import derive, report, scenes, steps  # noqa: E402
from demo.voc import DataError  # noqa: E402

TITLES = {'classifier': 'the classifier alone (baseline)', 'toco': 'ToCo'}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument('--data', help='folder in VOC layout: VOCdevkit, VOCdevkit/VOC2012 or your own')
    parser.add_argument('--weights', help='pretrained ViT-Tiny/16 for --data: file or URL (default: DeiT-Tiny)')
    parser.add_argument('--iters', type=int, default=os.environ.get('ITERS'), help='training iterations (ITERS=)')
    parser.add_argument('--seed', type=int, default=0, help='of both trainings; the scenes stay the same')
    parser.add_argument('--out', type=Path, help='where everything goes (default: work_dirs/demo or demo_real)')
    args = parser.parse_args(argv)
    if args.weights and not args.data:
        parser.error('--weights goes with --data: the drawn scenes have their own tiny ViT (demo/tiny_vit.pth)')
    if args.iters is not None and args.iters < 1:
        parser.error(f'--iters must be at least 1, got {args.iters}')
    return args


def plan(configs: dict[str, Path], out: Path, seed: int) -> list[steps.Step]:
    """Training and tests of both methods, then the pictures of ToCo."""
    listed = []
    for method, config in configs.items():
        folder = out / method
        weights = str(derive.checkpoint(config, folder))
        where = ('--work-dir', str(folder))

        def add(name: str, title: str, *command: str, folder: Path = folder, fresh: bool = False) -> None:
            listed.append(steps.Step(title=title, folder=folder, name=name, command=command, fresh=fresh))

        about = TITLES[method]
        train = ('tools/train.py', str(config), *where, '--resume', '--seed', str(seed))
        add('train', f'train {about}', *train, fresh=True)
        add('test', f'test {about}', 'tools/test.py', str(config), weights, *where)
        if method == 'toco':
            post = ('--tta', '--crf')
            add(
                'test_tta_crf',
                f'test {about}, multi-scale and CRF',
                'tools/test.py',
                str(config),
                weights,
                *where,
                *post,
            )
            page = ('tools/analysis_tools/picture_page.py', str(config), weights, '--out', str(out / 'page.png'))
            add('page', 'draw the page of pictures', *page)
    return listed


def main(argv: list[str] | None = None) -> None:
    """Draw the data, do what is left to do, print the table."""
    args = parse_args(argv)
    out = args.out or Path('work_dirs/demo_real' if args.data else 'work_dirs/demo')
    try:
        if args.data:
            configs = derive.real(out, args.data, args.weights, args.iters)
        else:
            print(f'scenes: {scenes.write("work_dirs/demo/data")} (1,200 to train on, 200 to test on)')
            configs = derive.drawn(out, args.iters)
    except DataError as error:
        raise SystemExit(f'error: {error}') from None
    listed = plan(configs, out, args.seed)
    steps.run(listed)
    text = report.write(out, configs, seed=args.seed, seconds=steps.seconds(listed))
    print(f'\n{text}\nThis table: {out / "README.md"}   pictures: {out / "page.png"}')


if __name__ == '__main__':
    main()
