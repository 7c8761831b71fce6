"""Turn weights of published implementations into checkpoints of our segmentors, and back.

    python tools/model_converters/published.py toco published.pth toco.pth
    python tools/model_converters/published.py weaktr-cam checkpoint_best.pth weaktr-cam.safetensors
    python tools/model_converters/published.py weaktr-seg checkpoint.pth weaktr-seg.pth
    python tools/model_converters/published.py more published.pth more.pth
    python tools/model_converters/published.py toco work_dirs/.../iter_20000.pth published.pth --reverse

Only tensors are read. Unknown or missing keys and values that the other side cannot have are errors that name them, and
nothing is written. docs/weights.md says how to load the result and what is lost in the reverse direction.
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    layouts = ['toco', 'weaktr-cam', 'weaktr-seg', 'mctformer-plus', 'seco', 'more', 'dupl']
    parser.add_argument('layout', choices=layouts, help='which network')
    parser.add_argument('source', metavar='IN', help='checkpoint, path or URL')
    parser.add_argument('target', metavar='OUT', help='.pth or .safetensors to write')
    parser.add_argument('--reverse', action='store_true', help='from ours to the published names')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.checkpoints import LAYOUTS, read_weights, write_weights
from mmseg_wsss.fileio import unwritable


def convert(layout: str, source: str, target: str, *, reverse: bool = False) -> tuple[int, int]:
    """Write the converted weights; numbers of tensors read and written."""
    state = read_weights(source)
    table = LAYOUTS[layout]
    try:
        converted = table.to_theirs(state) if reverse else table.to_ours(state)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None
    write_weights(converted, target)
    return len(state), len(converted)


def main(argv: list[str] | None = None) -> None:
    """Convert, say how much."""
    args = parse_args(argv)
    if problem := unwritable(args.target, file=True):
        sys.exit(f'error: OUT {problem}')
    try:
        read, written = convert(args.layout, args.source, args.target, reverse=args.reverse)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'{args.target}: {written} tensors, from {read} of {args.source}')


if __name__ == '__main__':
    main()
