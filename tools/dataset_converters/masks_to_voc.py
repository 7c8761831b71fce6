"""Hand a folder of masks over to an annotation tool, in the layout of PASCAL VOC.

    python tools/dataset_converters/masks_to_voc.py work_dirs/own_photos/masks photos_voc --images photos/images

MASKS is what tools/make_pseudo_labels.py --out or tools/test.py --out wrote, or any folder of PNG masks whose pixels
are ids, with --classes. Written are

    OUT/JPEGImages/                        the images, byte for byte, with their extensions
    OUT/SegmentationClass/                 palette PNGs
    OUT/ImageSets/Segmentation/default.txt the names
    OUT/labelmap.txt                       the colour of each class; `ignore` where masks hold 255

which is what CVAT imports as "Segmentation mask" and datumaro as "voc", once OUT is zipped. labelmap.txt comes last.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('masks', metavar='MASKS', type=Path, help='folder of the masks')
    parser.add_argument('out', metavar='OUT', type=Path, help='folder to write to')
    parser.add_argument('--images', type=Path, required=True, help='folder of the images, called like the masks')
    parser.add_argument('--classes', nargs='+', help='names of the ids 1, 2, ... (default: those that MASKS knows)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np

from mmseg_wsss.datasets import voc_palette
from mmseg_wsss.datasets.conversion.mask_set import masks_of_images, open_mask_set
from mmseg_wsss.datasets.label_map import LABEL_MAP, write_label_map
from mmseg_wsss.datasets.mask_files import open_mask, write_mask
from mmseg_wsss.fileio import whole_file, write_text
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.structures import IGNORE


def convert(args: argparse.Namespace) -> int:
    """Write the layout; returns the number of images.

    Raises:
        ValueError: OUT has files, or masks and images do not fit; everything that is wrong, at once.
    """
    if args.out.exists() and any(args.out.iterdir()):
        raise ValueError(f'{args.out} is not empty: give another OUT')
    masks = open_mask_set(args.masks, args.classes)
    pairs = masks_of_images(masks, args.images)
    names = [PurePosixPath(pair.relative).with_suffix('').as_posix() for pair in pairs]
    for name, pair in zip(names, progress_bar(pairs, text='images'), strict=True):
        with whole_file(args.out / 'JPEGImages' / pair.relative) as temporary:
            shutil.copyfile(pair.image, temporary)
        with open_mask(pair.mask) as mask:
            ids = np.array(mask)
        write_mask(args.out / 'SegmentationClass' / f'{name}.png', ids)
    write_text(args.out / 'ImageSets' / 'Segmentation' / 'default.txt', ''.join(f'{name}\n' for name in names))
    palette, classes = voc_palette(256)[: len(masks.classes)], masks.classes
    if any(IGNORE in pair.ids for pair in pairs):
        palette, classes = [*palette, voc_palette(256)[IGNORE]], (*classes, 'ignore')
    write_label_map(args.out / LABEL_MAP, classes, palette)
    return len(pairs)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; returns the exit status, 1 when something is wrong."""
    args = parse_args(argv)
    try:
        count = convert(args)
    except (ValueError, OSError) as error:
        print(f'{error}\n{args.out / LABEL_MAP} is not written', file=sys.stderr)
        return 1
    print(f'{args.out}: {count} images')
    return 0


if __name__ == '__main__':
    sys.exit(main())
