"""The report of a run, as a file and as text."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..fileio import write_text
from .images import Unreadable


def write_report(
    folder: Path,
    *,
    total: int,
    written: int,
    before: int,
    skipped: Sequence[Unreadable],
    seconds: float,
    name: str = 'report.json',
    more: Mapping[str, Any] | None = None,
) -> str:
    """Write ``report.json``.

    Args:
        folder: The output folder.
        total: Images in the list.
        written: Masks that the run made.
        before: Masks that existed when the run began.
        skipped: Images that could not be read, by the labelling or by the sweep before it.
        seconds: How long the labelling took.
        name: Of the file; it must differ between jobs in the same folder.
        more: Further contents, as JSON values.

    Returns:
        The same as text, with the skipped images at the end.
    """
    rate = written / max(seconds, 1e-9)
    record = {
        'images': total,
        'there_before': before,
        'written': written,
        'seconds': round(seconds, 1),
        'images_per_second': round(rate, 3),
        'skipped': [one._asdict() for one in skipped],
        **(more or {}),
    }
    write_text(folder / name, json.dumps(record, indent=2) + '\n')
    text = f'{written} masks written to {folder} in {seconds:.1f} s ({rate:.2f} images/s)'
    if before:
        text += f', {before} were there before'
    if skipped:
        text += f'\n{len(skipped)} images were SKIPPED:' + ''.join(f'\n  {one.error}' for one in skipped)
    return text
