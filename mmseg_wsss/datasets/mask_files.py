"""Mask files: reading, writing, and checking one against its image."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..fileio import whole_file
from .open_image import open_image
from .palette import voc_palette

WRONG_SIZE = 'mask of another size than its image'
WRONG_ID = 'mask with ids that no class has'

_EXIF_ORIENTATION = 0x0112


class MaskContent(NamedTuple):
    """Width and height, and the ids that occur, sorted."""

    size: tuple[int, int]
    ids: list[int]


@contextmanager
def open_mask(path: str | Path) -> Iterator[Image.Image]:
    """Open a mask, a palette or 8-bit gray image; errors in the block, such as in decoding, name the file.

    A black-and-white image (mode ``1``) is refused like a colour image: its white may mean id 1 or 255.

    Raises:
        FileNotFoundError, ValueError: as :func:`open_image`; or the mask has another mode.
    """
    with open_image(path, 'mask') as mask:
        if mask.mode in ('P', 'L'):
            yield mask
            return
        mode = mask.mode
    raise ValueError(
        f'{path}: a mask of mode {mode}; a palette or 8-bit gray PNG with a class id per pixel is needed, as '
        "PIL.Image.fromarray(ids.astype('uint8')).save('mask.png') writes it; colours become ids with "
        'tools/dataset_converters/colour_masks.py'
    )


def read_mask(path: str | Path) -> MaskContent:
    """Decode a mask; raises what :func:`open_mask` does."""
    with open_mask(path) as mask:
        return MaskContent(mask.size, [i for i, count in enumerate(mask.histogram()) if count])


def read_ids(path: str | Path) -> np.ndarray:
    """The ids (H, W) uint8 of a mask; raises what :func:`open_mask` does."""
    with open_mask(path) as mask:
        return np.array(mask)


def write_mask(path: str | Path, mask: np.ndarray, palette: Sequence[Sequence[int]] = ()) -> None:
    """Write segmentation ids as a palette PNG, complete or not at all.

    Args:
        path: File to write; its folder is made.
        mask: (H, W) ids 0..255.
        palette: RGB in 0..255 of the first ids; the others get PASCAL VOC's colours.

    Raises:
        ValueError: the mask has ids outside 0..255.
    """
    path = Path(path)
    if mask.size and not 0 <= mask.min() <= mask.max() <= 255:
        raise ValueError(f'{path}: a palette PNG holds the ids 0..255, got {mask.min()}..{mask.max()}')
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))  # mode L; a palette makes it P
    image.putpalette([value for colour in voc_palette(256, palette) for value in colour])
    with whole_file(path) as temporary:
        image.save(temporary, format='PNG')


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image as displayed: it may be stored rotated, with its orientation in the EXIF data."""
    width, height = image.size
    return (height, width) if image.getexif().get(_EXIF_ORIENTATION, 1) >= 5 else (width, height)


def misfits(
    mask: str | Path, content: MaskContent, image: str | Path, size: tuple[int, int], allowed: Collection[int]
) -> list[tuple[str, str]]:
    """Kind and text of what is wrong with a readable mask.

    Args:
        mask, image: paths, for the text.
        content: of the mask.
        size: upright width and height of the image.
        allowed: ids that the mask may hold.
    """
    findings = []
    if content.size != size:
        findings.append((WRONG_SIZE, f'{mask} is {_text(content.size)}, {image} {_text(size)}'))
    wrong = [i for i in content.ids if i not in allowed]
    if wrong:
        classes = len([i for i in allowed if 0 < i < 255])
        findings.append((WRONG_ID, f'{mask} holds {wrong}; there are {classes} classes (ids 0..{classes})'))
    return findings


def is_whole_palette_png(path: str | Path, size: tuple[int, int] | None = None) -> bool:
    """Whether a palette PNG is there, complete (by its checksums) and, where ``size`` is given, of that size."""
    try:
        with open_image(path, 'mask') as mask:
            fits = mask.format == 'PNG' and mask.mode == 'P' and (size is None or mask.size == tuple(size))
            mask.verify()
            return fits
    except (OSError, ValueError):
        return False


def _text(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
