"""The name of an image: its path below the image folder, with ``/`` and without the extension."""

import filecmp
import os
import posixpath
import re
import unicodedata
from collections.abc import Collection
from pathlib import Path

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp', '.avif', '.gif')
# Photographs that Pillow does not read. They are known, so that they are named instead of overlooked.
UNREAD_SUFFIXES = ('.heic', '.heif', '.jxl', '.dng', '.cr2', '.cr3', '.nef', '.arw')


def composed(text: str) -> str:
    """Unicode's composed form (NFC): macOS writes ``ü`` in file names as two characters, people type it as one."""
    return unicodedata.normalize('NFC', text)


def image_name(path: str) -> str:
    """Turn a path as people write it into the name of the image.

    ``sub/a.jpg``, ``./sub/a`` and ``sub\\a.JPG`` all become ``sub/a``. Only known image extensions are removed:
    ``2007.12.24`` stays as it is. Names are :func:`composed`.

    Raises:
        ValueError: the path is empty, absolute, or leaves the folder it is relative to.
    """
    slashed = path.strip().replace('\\', '/')
    if not slashed:
        raise ValueError('the name of the image is empty')
    clean = composed(posixpath.normpath(slashed))
    if clean.startswith('/') or clean.split('/')[0] in ('..', '.') or re.match('[A-Za-z]:', clean) or '\0' in clean:
        raise ValueError(f'{path!r} leaves the image folder: names are relative paths inside it')
    stem, suffix = posixpath.splitext(clean)
    return stem if suffix.lower() in IMAGE_SUFFIXES + UNREAD_SUFFIXES else clean


def without_folder(name: str, names: Collection[str], folder: str) -> str:
    """Take the image folder off a name that repeats it: ``images/a`` is ``a`` in a folder ``photos/images``.

    Args:
        name: of :func:`image_name`.
        names: those of the images in the folder.
        folder: path of the image folder.

    Returns:
        The name in ``names`` that is meant, or ``name`` where none is.
    """
    if name in names:
        return name
    parts = name.split('/')
    above = composed(Path(folder).as_posix()).split('/')
    tails = ('/'.join(parts[k:]) for k in range(1, len(parts)) if above[-k:] == parts[:k])
    return next((tail for tail in tails if tail in names), name)


def files_by_name(root: str | Path, suffix: str) -> dict[str, str]:
    """Files with one extension by the name of their image: name -> relative path, both below ``root``."""
    return {image_name(path[: -len(suffix)] + '.png'): path for path in list_files(root, suffix)}


def list_files(root: str | Path, suffixes: str | tuple[str, ...], exclude: str | Path | None = None) -> list[str]:
    """List files by extension (upper or lower case), in sub-folders too, as sorted relative ``/`` paths.

    Hidden files (``._a.jpg`` of macOS) and everything below the folder ``exclude`` are left out, and so are linked
    sub-folders, which may point outside the root or form cycles; the root itself may be a link.
    """
    suffixes = tuple(s.lower() for s in ([suffixes] if isinstance(suffixes, str) else suffixes))
    excluded = os.path.abspath(exclude) if exclude else None
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f[0] != '.' and os.path.abspath(os.path.join(folder, f)) != excluded]
        below = os.path.relpath(folder, root).replace(os.sep, '/')
        prefix = '' if below == '.' else f'{below}/'
        found += [prefix + file for file in files if file[0] != '.' and file.lower().endswith(suffixes)]
    return sorted(found)


def same_file_content(first: str | Path, second: str | Path) -> bool:
    """Whether two files hold the same bytes (links to one file do)."""
    return os.path.samefile(first, second) or filecmp.cmp(first, second, shallow=False)
