"""`make demo`: trains a method on images and their tags, tests it, leaves a table and pictures.

    python demo/run.py                                   drawn scenes; some 12 minutes on a CPU, no download
    python demo/run.py --data path/to/VOCdevkit          real images with tags, DeiT-Tiny
    python demo/run.py --method weaktr                   WeakTr's two stages instead of ToCo and the classifier in it

The same by make: ``make demo``, ``make demo DATA=path/to/VOCdevkit WEIGHTS=vit.pth ITERS=600 METHOD=weaktr``. Results
are in work_dirs/demo (README.md and page.png), for real images in work_dirs/demo_real; WeakTr's in
work_dirs/demo_weaktr and work_dirs/demo_weaktr_real. A second call does what is left to do.
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
from demo import scenes, toco, weaktr  # noqa: E402
from demo.voc import DataError  # noqa: E402
from mmseg_wsss.engine.steps import run_steps, seconds  # noqa: E402
from mmseg_wsss.engine.tool_steps import ToolSteps  # noqa: E402

METHODS = {'toco': toco.Demo, 'weaktr': weaktr.Demo}
FOLDERS = {'toco': 'demo', 'weaktr': 'demo_weaktr'}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument('--method', choices=sorted(METHODS), default='toco', help='METHOD= (default: toco)')
    parser.add_argument('--data', help='folder in VOC layout: VOCdevkit, VOCdevkit/VOC2012 or your own')
    parser.add_argument('--weights', help='pretrained ViT-Tiny/16 for --data: file or URL (default: DeiT-Tiny)')
    parser.add_argument('--iters', type=int, default=os.environ.get('ITERS'), help='training iterations (ITERS=)')
    parser.add_argument('--seed', type=int, default=0, help='of all trainings; the scenes stay the same')
    parser.add_argument('--out', type=Path, help='where everything goes (default: work_dirs/demo[_METHOD][_real])')
    args = parser.parse_args(argv)
    if args.weights and not args.data:
        parser.error('--weights goes with --data: the drawn scenes have their own tiny ViT (demo/tiny_vit.pth)')
    if args.iters is not None and args.iters < 1:
        parser.error(f'--iters must be at least 1, got {args.iters}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Draw the data, do what is left to do, print the table."""
    args = parse_args(argv)
    out = args.out or Path('work_dirs') / (FOLDERS[args.method] + '_real' * bool(args.data))
    tools = ToolSteps(tools=Path('tools'), python=('-m', 'demo.tool'))
    try:
        if args.data:
            demo = METHODS[args.method].real(out, args.data, args.weights, args.iters, seed=args.seed)
        else:
            print(f'scenes: {scenes.write("work_dirs/demo/data")} (1,200 to train on, 200 to test on)')
            demo = METHODS[args.method].drawn(out, args.iters, seed=args.seed)
        demo.plan(tools)
    except (DataError, ImportError) as error:
        raise SystemExit(f'error: {error}') from None
    run_steps(tools.steps, out / '.lock')
    text = demo.report(seconds(tools.steps))
    print(f'\n{text}\nThis table: {out / "README.md"}   pictures: {out / "page.png"}')


if __name__ == '__main__':
    main()
