"""One run at a time in an output folder."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .fileio import LOCK, leftovers

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class FolderInUseError(OSError):
    """Another run writes into the folder."""


@contextmanager
def locked_folder(folder: str | Path, *, name: str = LOCK, shared: bool = False) -> Iterator[bool]:
    """Hold a folder for the length of a run.

    The lock is the operating system's, of this process (``fcntl.lockf``): it ends with the process, even with one that
    is killed, and is not inherited by loaders' workers, which then live on for some seconds. The hidden file stays.

    Args:
        folder: is made where it is missing.
        name: of the lock file.
        shared: beside other runs that share it too; refused as long as a run holds it alone, and the other way round.

    Yields:
        Whether it is held; False, after a note on stderr, where the file system or the operating system has no locks.

    Raises:
        FolderInUseError: another run holds it; the message names the folder, the process and its host.
        OSError: the lock file cannot be written.
    """
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a+', encoding='utf-8') as file:
        held = True
        try:
            fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EAGAIN and EACCES: POSIX allows either
            file.seek(0)
            holder = file.read() or 'another process'
            raise FolderInUseError(
                f'{folder} is in use by {holder}: wait until it ends, stop it, or choose another folder'
            ) from None
        except (OSError, AttributeError) as error:  # ENOLCK, ENOSYS ...; or no fcntl
            held = False
            print(
                f'NOTE: {folder} cannot be locked ({error}): see to it yourself that no other run writes into it; '
                'temporary files of runs that were killed stay there',
                file=sys.stderr,
            )
        if held:
            file.truncate(0)
            file.write(f'process {os.getpid()} on {socket.gethostname()}')
            file.flush()
        yield held


@contextmanager
def output_folder(folder: str | Path) -> Iterator[None]:
    """Hold a folder alone (:func:`locked_folder`), and remove what a run that was killed left half-written in it."""
    with locked_folder(folder) as held:
        if held:
            for temporary in leftovers(folder):
                temporary.unlink(missing_ok=True)
        yield
