"""How far a run is."""

import sys
from collections.abc import Iterable
from typing import Any

from mmengine.dist import get_rank
from tqdm import tqdm

_PERIOD = 30.0  # seconds between two states in a log file


def progress_bar(
    iterable: Iterable | None = None, *, text: str, unit: str = ' images', delay: float = 0, **options: Any
) -> tqdm:
    """A ``tqdm`` bar of the first process; if stderr is not a terminal, a line every half minute.

    Args:
        iterable: What to iterate over; None to call ``update()``.
        text: Description of the work.
        unit: What is counted.
        delay: Seconds after which the bar is shown.
        options: Further options of ``tqdm``, such as ``total``.
    """
    if not sys.stderr.isatty():
        options.update(mininterval=_PERIOD, miniters=1)
        delay = _PERIOD
    return tqdm(iterable, desc=text, unit=unit, delay=delay, dynamic_ncols=True, disable=get_rank() != 0, **options)
