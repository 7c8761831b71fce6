"""Hand a folder of masks over to an annotation tool, as a JSON file in COCO's format.

    python tools/dataset_converters/masks_to_coco.py work_dirs/own_photos/masks masks.json --images photos/images

MASKS is what tools/make_pseudo_labels.py --out or tools/test.py --out wrote, or any folder of PNG masks whose pixels
are ids, with --classes. Each connected region becomes one annotation, because annotation tools move, fix and delete
annotations one by one. Regions are run lengths (exact) or, with --polygons, polygons within half a pixel, for tools
that edit points or know no run lengths. Background and 255 have no annotation; every image of a mask is listed.

Needs the extra `coco`: pip install pycocotools contourpy.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('masks', metavar='MASKS', type=Path, help='folder of the masks')
    parser.add_argument('out', metavar='OUT', type=Path, help='the .json to write')
    parser.add_argument('--images', type=Path, required=True, help='folder of the images, called like the masks')
    parser.add_argument('--classes', nargs='+', help='names of the ids 1, 2, ... (default: those that MASKS knows)')
    parser.add_argument('--polygons', action='store_true', help='polygons instead of run lengths')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np

try:
    from mmseg_wsss.datasets.conversion.coco_export import annotation, regions
except ImportError as error:
    sys.exit(f'error: {error}: pip install pycocotools contourpy')
from mmseg_wsss.datasets.conversion.mask_set import masks_of_images, open_mask_set
from mmseg_wsss.datasets.mask_files import open_mask
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.progress import progress_bar


def coco_content(args: argparse.Namespace) -> dict:
    """What the file holds.

    Raises:
        ValueError: masks and images do not fit; everything that is wrong, at once.
    """
    masks = open_mask_set(args.masks, args.classes)
    pairs = masks_of_images(masks, args.images)
    images, annotations = [], []
    for number, pair in enumerate(progress_bar(pairs, text='masks'), start=1):
        width, height = pair.size
        images.append({'id': number, 'file_name': pair.relative, 'width': width, 'height': height})
        with open_mask(pair.mask) as mask:
            ids = np.array(mask)
        for region in regions(ids):
            entry = annotation(region, polygons=args.polygons)
            annotations.append({'id': len(annotations) + 1, 'image_id': number, **entry})
    categories = [{'id': i, 'name': name} for i, name in enumerate(masks.classes) if i]
    return {'info': {}, 'licenses': [], 'images': images, 'annotations': annotations, 'categories': categories}


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; returns the exit status, 1 when something is wrong."""
    args = parse_args(argv)
    if problem := unwritable(args.out, file=True):
        sys.exit(f'error: OUT {problem}')
    try:
        content = coco_content(args)
        write_text(args.out, json.dumps(content, ensure_ascii=False) + '\n')
    except (ValueError, OSError) as error:
        print(f'{error}\n{args.out} is not written', file=sys.stderr)
        return 1
    print(f'{args.out}: {len(content["images"])} images, {len(content["annotations"])} annotations')
    return 0


if __name__ == '__main__':
    sys.exit(main())
