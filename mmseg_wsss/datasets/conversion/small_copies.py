"""Copies of photos in the size that a network is shown: decoding 12 megapixels takes longer than learning from them."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ...fileio import whole_file
from ...progress import progress_bar
from ...worker_pool import run_tasks
from ..image_labels.names import image_name
from ..mask_files import upright_size
from ..open_image import open_image
from ..transforms.load_image import read_image


def longest_side(path: Path) -> int:
    """In pixels, from the header of an image file; raises what :func:`open_image` does."""
    with open_image(path) as image:
        return max(upright_size(image))


def small_copy(name: str, *, root: Path, out: Path, side: int) -> None:
    """Write ``out/name`` as a JPEG whose longer side is at most ``side``, or a plain copy where the photo is so small.

    Raises:
        ValueError: the photo cannot be read.
    """
    source = root / name
    pixels = read_image(source)[..., ::-1]  # BGR to RGB
    if max(pixels.shape) <= side:
        with whole_file(out / name) as temporary:
            shutil.copyfile(source, temporary)
        return
    photo = Image.fromarray(np.ascontiguousarray(pixels))
    photo.thumbnail((side, side), Image.Resampling.BICUBIC)
    with whole_file(out / f'{image_name(name)}.jpg') as temporary:
        photo.save(temporary, quality=95)


def small_copies(root: Path, names: Sequence[str], out: Path, *, side: int, workers: int) -> None:
    """Copy photos to ``out``, those that are missing there.

    Args:
        root: folder of the photos.
        names: paths below it, with ``/``; their copies have the same names but for the extension.
        out: folder of the copies.
        side: longer side of the copies in pixels.
        workers: processes.
    """
    left = [name for name in names if not any((out / one).is_file() for one in (name, f'{image_name(name)}.jpg'))]
    copy = partial(small_copy, root=root, out=out, side=side)
    for _ in progress_bar(run_tasks(copy, left, workers=workers), total=len(left), text='smaller copies'):
        pass
