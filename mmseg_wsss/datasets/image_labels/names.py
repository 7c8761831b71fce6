"""The name of an image: its path below the image folder, with ``/`` and without the extension."""

import filecmp
import os
import posixpath
import re
from pathlib import Path

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif')


def image_name(path: str) -> str:
    """Turn a path as people write it into the name of the image.

    ``sub/a.jpg``, ``./sub/a`` and ``sub\\a.JPG`` all become ``sub/a``. Only known image extensions are removed:
    ``2007.12.24`` stays as it is.

    Raises:
        ValueError: the path is empty, absolute, or leaves the folder it is relative to.
    """
    slashed = path.strip().replace('\\', '/')
    if not slashed:
        raise ValueError('the name of the image is empty')
    clean = posixpath.normpath(slashed)
    if clean.startswith('/') or clean.split('/')[0] in ('..', '.') or re.match('[A-Za-z]:', clean) or '\0' in clean:
        raise ValueError(f'{path!r} leaves the image folder: names are relative paths inside it')
    stem, suffix = posixpath.splitext(clean)
    return stem if suffix.lower() in IMAGE_SUFFIXES else clean


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
