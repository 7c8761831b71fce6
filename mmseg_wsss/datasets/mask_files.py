"""What a mask file holds, and whether it fits its image."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from PIL import Image

WRONG_SIZE = 'mask of another size than its image'
WRONG_ID = 'mask with ids that no class has'

_EXIF_ORIENTATION = 0x0112
UNREADABLE_ERRORS = (OSError, SyntaxError, ValueError)  # Pillow raises SyntaxError for a broken PNG chunk


class MaskContent(NamedTuple):
    """Width and height, and the ids that occur, sorted."""

    size: tuple[int, int]
    ids: list[int]


def read_mask(path: str | Path) -> MaskContent:
    """Decode a mask.

    Raises:
        OSError, SyntaxError, ValueError: it cannot be read, or is neither a palette nor an 8-bit gray image; the text
            begins with the path.
    """
    try:
        with Image.open(path) as mask:
            if mask.mode in ('P', 'L'):
                return MaskContent(mask.size, [i for i, count in enumerate(mask.histogram()) if count])
            mode = mask.mode
    except UNREADABLE_ERRORS as error:
        raise ValueError(f'{path}: {error}') from error
    raise ValueError(f'{path}: a mask of mode {mode}; a palette or 8-bit gray PNG with class ids is needed')


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image as it is looked at: EXIF may say that it is stored on its side."""
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
        with Image.open(path) as mask:
            fits = mask.format == 'PNG' and mask.mode == 'P' and (size is None or mask.size == tuple(size))
            mask.verify()
            return fits
    except UNREADABLE_ERRORS:
        return False


def _text(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
