"""Segment photos with a trained network: ``python tools/predict.py CONFIG CHECKPOINT IMAGES --out DIR``.

IMAGES are files and folders. DIR gets ``masks/NAME.png`` (palette PNGs of the photos' sizes), ``overlays/NAME.jpg``
(the mask over the photo) and ``predictions.json`` (the classes of each photo with their shares of its pixels). Images
that cannot be read are named, the others are done, and the exit status is 1. A run that was killed goes on where it
stopped when it is called again, and photos that were added are done then.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file of this config')
    parser.add_argument('images', nargs='+', help='image files and folders')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of masks and overlays')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images of equal size at once')
    parser.add_argument('--workers', type=int, default=0, metavar='N', help='processes that read ahead')
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: the GPU, where there is one)')
    args = parser.parse_args(argv)
    if args.batch_size < 1 or args.workers < 0:
        parser.error('--batch-size must be at least 1, --workers at least 0')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
from PIL import Image

from mmseg_wsss.apis import Prediction, init_model, list_images, predict
from mmseg_wsss.datasets.label_map import LABEL_MAP, write_label_map
from mmseg_wsss.datasets.mask_files import is_whole_palette_png, open_mask, write_mask
from mmseg_wsss.datasets.transforms.load_image import read_image
from mmseg_wsss.evaluation import mask_path
from mmseg_wsss.fileio import file_sha256, unwritable, whole_file, write_text
from mmseg_wsss.folder_lock import FolderInUseError, output_folder
from mmseg_wsss.pseudo_labels import Unreadable
from mmseg_wsss.text_files import read_json
from mmseg_wsss.visualization import colorize, overlay


def masks_of(images: list[str], out: Path, earlier: list[dict]) -> dict[str, Path]:
    """Image -> its mask below ``out/masks``, in sub-folders as below the folder that was given.

    Args:
        images: files and folders.
        out: folder of the masks.
        earlier: the images of an earlier call, of which ``out`` may have masks.

    Raises:
        FileNotFoundError, ValueError: an image is missing, or two would become one file.
    """
    targets = {out / one['mask']: one['image'] for one in earlier}
    found: dict[str, Path] = {}
    for given in map(os.path.abspath, images):
        for path in list_images(given):
            found[path] = mask_path(path, out / 'masks', given if os.path.isdir(given) else None)
            other = targets.setdefault(found[path], path)
            if other != path:
                raise ValueError(f'{path} and {other} would both become {found[path]}: give each its own --out')
    return found


def is_done(image: str, mask: Path) -> bool:
    """Whether the mask is whole and was made of the image as it is now."""
    return is_whole_palette_png(mask) and mask.stat().st_mtime >= os.stat(image).st_mtime


def write(one: Prediction, mask: Path, out: Path) -> None:
    """Write the overlay, then the mask, whose presence says that both are there."""
    photo = read_image(one.path)[..., ::-1]  # BGR to RGB
    opacity = np.where(one.ids > 0, 0.6, 0.0)[..., None]  # background stays as it is
    picture = (out / 'overlays' / mask.relative_to(out / 'masks')).with_suffix('.jpg')
    with whole_file(picture) as temporary:
        Image.fromarray(overlay(photo, colorize(one.ids, one.palette), opacity)).save(temporary, quality=90)
    write_mask(mask, one.ids, one.palette)


def earlier_images(record: Path, network: dict[str, str]) -> list[dict]:
    """The images of earlier calls.

    Raises:
        ValueError: the folder has masks of another network, or of an unknown one.
    """
    there = read_json(record) if record.is_file() else {}
    if isinstance(there, dict) and there.get('network') == network:
        return there['images']
    if there or (record.parent / 'masks').is_dir():
        raise ValueError(f'{record.parent}/masks are of another checkpoint or config: choose another --out')
    return []


def shares(mask: Path, classes: Sequence[str]) -> dict[str, float]:
    """Share of the pixels of a mask for each class that is on it."""
    with open_mask(mask) as image:
        counts = image.histogram()
    return {name: round(n / sum(counts), 4) for name, n in zip(classes, counts, strict=False) if n}


def write_record(record: Path, network: dict[str, str], images: list[dict]) -> None:
    """Write ``predictions.json``."""
    write_text(record, json.dumps(dict(network=network, images=images), indent=1) + '\n')


def main(argv: list[str] | None = None) -> int:
    """Segment what is left; returns the exit status."""
    args = parse_args(argv)
    if problem := unwritable(args.out):
        sys.exit(f'error: --out {problem}')
    try:
        with output_folder(args.out):
            return segment(args)
    except FolderInUseError as error:
        sys.exit(f'error: --out {error}')


def segment(args: argparse.Namespace) -> int:
    """Segment what is left in a folder that is held; returns the exit status."""
    record = args.out / 'predictions.json'
    try:
        model = init_model(args.config, args.checkpoint, device=args.device)
        recipe = json.dumps([model.cfg.model, model.cfg.test_pipeline], default=str)
        network = dict(checkpoint=file_sha256(args.checkpoint), config=hashlib.sha256(recipe.encode()).hexdigest())
        earlier = earlier_images(record, network)
        targets = masks_of(args.images, args.out, earlier)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    classes, palette = model.dataset_meta['classes'], model.dataset_meta['palette']
    images = {one['image']: one for one in earlier}
    images |= {path: dict(image=path, mask=mask.relative_to(args.out).as_posix()) for path, mask in targets.items()}
    write_record(record, network, [*images.values()])  # before the first mask: a later call knows whose it is
    write_label_map(args.out / 'masks' / LABEL_MAP, classes, palette)
    left = [path for path, mask in targets.items() if not is_done(path, mask)]
    unreadable: list[Unreadable] = []
    options = dict(batch_size=args.batch_size, num_workers=args.workers, unreadable=unreadable)
    for one in predict(model, left, **options):
        write(one, targets[one.path], args.out)
    images = [one for one in images.values() if (args.out / one['mask']).is_file()]
    write_record(record, network, [{**one, 'classes': shares(args.out / one['mask'], classes)} for one in images])
    for one in unreadable:
        print(f'SKIPPED {one.error}', file=sys.stderr)
    print(f'{len(left) - len(unreadable)} masks written, {len(targets) - len(left)} were there: {args.out / "masks"}')
    return int(bool(unreadable))


if __name__ == '__main__':
    sys.exit(main())
