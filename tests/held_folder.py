"""A folder that another process holds; a lock of this process would not refuse this process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import fcntl, sys
file = open(sys.argv[1], 'a+')
fcntl.lockf(file, fcntl.LOCK_SH if sys.argv[2] == 'shared' else fcntl.LOCK_EX)
file.write('process 7 on elsewhere')
file.flush()
print('held', flush=True)
sys.stdin.read()
"""
REFUSED = 'is in use by process 7 on elsewhere: wait until it ends, stop it, or choose another folder'


@contextmanager
def held_elsewhere(folder: Path, name: str = '.lock', *, shared: bool = False) -> Iterator[subprocess.Popen]:
    """Hold the folder until the block ends; gives the process that does."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-S', '-c', HOLD, str(folder / name), 'shared' if shared else 'alone']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'held\n'
        try:
            yield process
        finally:
            process.kill()
