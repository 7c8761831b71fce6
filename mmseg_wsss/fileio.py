"""Files that are written completely or not at all, and their hashes."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = '.lock'  # of a folder, see folder_lock.py
_LEFTOVER = re.compile(r'\.(.+)\.part-\d+(\..+)?')  # the temporary names of `whole_file`


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to ``path`` when the block ends without an error.

    .. code-block:: python

        with whole_file('masks/a.png') as temporary:
            image.save(temporary)

    A reader never sees half a file, and after an error in the block ``path`` is unchanged.

    Args:
        path: File to write or replace; its folder is made.

    Yields:
        A hidden path in the same folder (a rename is not atomic across disks) with the same extension (many writers
        choose the format by it), different in each process.

    Raises:
        OSError: the folder cannot be made, or the block wrote no file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.stem}.part-{os.getpid()}{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(folder: str | Path) -> dict[Path, Path]:
    """The temporary files of :func:`whole_file` below a folder, each with the file that it would have become.

    They are of runs that were killed, or of one that is writing: lock the folder first (``folder_lock.py``). Folders
    below it with a lock file of their own are left to those who use them.
    """
    found = {}
    for below, folders, names in os.walk(folder):
        if LOCK in names and Path(below) != Path(folder):
            folders.clear()
            continue
        for name in names:
            if match := _LEFTOVER.fullmatch(name):
                found[Path(below, name)] = Path(below, f'{match[1]}{match[2] or ""}')
    return found


def write_text(path: str | Path, text: str) -> None:
    """Write a :func:`whole_file` of UTF-8 text."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding='utf-8', newline='\n')


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def unwritable(path: str | Path, *, file: bool = False) -> str | None:
    """Why nothing can be written to an output, found out before the work; None where it can. Nothing stays behind.

    Args:
        path: folder, which need not be there yet.
        file: it is a file to write instead.
    """
    path = Path(path).expanduser()
    if file and path.is_dir():
        return f'{path} is a folder: give a file in it'
    folder = path.parent if file else path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f'{path} cannot be written: {folder}: {error.strerror}'
