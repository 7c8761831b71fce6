"""Combine pseudo-labels of several networks: ``python tools/combine_pseudo_labels.py DIR DIR ... --out OUT``.

Each DIR is an ``--out`` of tools/make_pseudo_labels.py for the same images and classes. A pixel gets the class on which
all agree, else 255, which trainings ignore; with ``--mean``, the class with the highest mean of the soft scores, for
which all folders need ``--soft``. A second call with the same folders continues.
"""

import argparse
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('folders', nargs='+', type=Path, metavar='DIR', help='two or more folders of pseudo-labels')
    parser.add_argument('--out', type=Path, required=True, metavar='OUT', help='folder of the combined ones')
    parser.add_argument('--mean', action='store_true', help='mean of the soft scores (default: where all agree)')
    args = parser.parse_args(argv)
    if len(args.folders) < 2:
        parser.error('give two folders or more')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import time

import mmseg_wsss  # noqa: F401  patches come before mmseg
from mmseg_wsss.datasets.conversion.mask_set import open_mask_set
from mmseg_wsss.datasets.mask_files import is_whole_palette_png, read_ids, write_mask
from mmseg_wsss.datasets.palette import voc_palette
from mmseg_wsss.fileio import unwritable
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.pseudo_labels import Manifest, agreed, highest_mean, load_soft_scores, write_report
from mmseg_wsss.text_files import read_json


def main(argv: list[str] | None = None) -> None:
    """Combine what is left."""
    args = parse_args(argv)
    if problem := unwritable(args.out):
        sys.exit(f'error: --out {problem}')
    sets = [open_mask_set(folder) for folder in args.folders]
    for folder, one in zip(args.folders[1:], sets[1:], strict=True):
        if one.classes != sets[0].classes:
            raise ValueError(f'{folder} has the classes {", ".join(one.classes)}, {args.folders[0]} has others')
        if different := one.masks.keys() ^ sets[0].masks.keys():
            raise ValueError(
                f'{folder} and {args.folders[0]} have different images: {", ".join(sorted(different)[:5])}'
            )
    made = [read_json(folder / 'manifest.json') for folder in args.folders]
    manifest = Manifest(
        args.out,
        {
            'classes': [*sets[0].classes],
            'combined': [one['sha256'] for one in made],
            'how': 'mean of the soft scores' if args.mean else 'where all agree',
            'palette': made[0]['settings'].get('palette'),
        },
    )
    if manifest.read() is None:
        manifest.write({})
    palette = voc_palette(256, manifest.settings['palette'] or ())
    start, written = time.monotonic(), 0
    for name, file in progress_bar(sets[0].masks.items(), text='images'):
        out = args.out / 'SegmentationClass' / file
        if is_whole_palette_png(out):
            continue
        if args.mean:
            files = [folder / 'SoftScores' / Path(file).with_suffix('.npz') for folder in args.folders]
            mask = highest_mean([load_soft_scores(one) for one in files])
        else:
            mask = agreed([read_ids(one.folder / one.masks[name]) for one in sets])
        write_mask(out, mask, palette)
        written += 1
    total = len(sets[0].masks)
    text = write_report(
        args.out,
        total=total,
        written=written,
        before=total - written,
        skipped=[],
        seconds=time.monotonic() - start,
    )
    print(text)


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
