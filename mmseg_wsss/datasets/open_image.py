"""The one place where image files are opened: which formats are read, and errors that name the file."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image

# The formats of `IMAGE_SUFFIXES`. Pillow would try every format that it knows, whatever the extension says: an EPS file
# is a program, and Ghostscript would run it.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'AVIF', 'GIF')
# What Pillow raises for files that are not images, are truncated or damaged; a broken PNG chunk is a SyntaxError.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)


@contextmanager
def open_image(path: str | Path, kind: str = 'image') -> Iterator[Image.Image]:
    """Open an image file; errors in the block, such as in decoding, name the file too.

    Args:
        path: JPEG, PNG, BMP, TIFF, WebP, AVIF (Pillow 11.3 or later) or GIF, by its content.
        kind: what it is to be, for messages: ``'image'`` or ``'mask'``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has none of these formats, is truncated or damaged, or has more than twice as many pixels
            as ``PIL.Image.MAX_IMAGE_PIXELS``, Pillow's limit against decompression bombs.
    """
    try:
        with _opened(path) as image:
            yield image
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: no such {kind} file') from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f'{path}: {error} If you trust the file, make it smaller or raise PIL.Image.MAX_IMAGE_PIXELS'
        ) from error
    except _UNREADABLE as error:
        article = 'an' if kind == 'image' else 'a'
        raise ValueError(
            f'{path}: cannot be read as {article} {kind} ({error}); it may be truncated or not an image'
        ) from error


def _opened(path: str | Path) -> Image.Image:
    try:
        return Image.open(path, formats=_known_formats())
    except Image.DecompressionBombWarning:  # between the limit and twice the limit, where warnings are errors
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return Image.open(path, formats=_known_formats())


@cache
def _known_formats() -> tuple[str, ...]:
    """Those that this version of Pillow has."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)
