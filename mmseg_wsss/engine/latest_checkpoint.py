"""Which checkpoint an interrupted training continues from."""

import re
import sys
import zipfile
from pathlib import Path


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that ``last_checkpoint`` names, or else the newest complete ``iter_N.pth`` or ``epoch_N.pth``.

    The second, with a note on stderr, is for a folder whose ``last_checkpoint`` was lost, or is empty because the disk
    was full, or names a file that was removed or moved.

    Returns:
        None where there is neither: the training has not begun.

    Raises:
        ValueError: there is one of them, but no complete checkpoint; starting anew would hide that.
    """
    last = Path(work_dir, 'last_checkpoint')
    named = last.read_text(encoding='utf-8').strip() if last.is_file() else None
    if named and Path(named).exists():
        return named
    found = {path: re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name) for path in Path(work_dir).glob('*.pth')}
    numbers = {path: int(match[1]) for path, match in found.items() if match}
    if named is None and not numbers:
        return None
    wrong = 'is missing' if named is None else f'names {named}, which is missing' if named else 'is empty'
    complete = [path for path in numbers if zipfile.is_zipfile(path)]  # of a cut one the end is missing, which is read
    if not complete:
        raise ValueError(
            f'{last} {wrong}, and there is no complete checkpoint in {work_dir}: give --resume CHECKPOINT, '
            'or choose another --work-dir to start anew'
        )
    newest = max(complete, key=numbers.get)
    print(
        f'NOTE: {last} {wrong}: the training continues from the newest complete checkpoint, {newest}', file=sys.stderr
    )
    return str(newest)
