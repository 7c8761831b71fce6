"""A line that says how far a run is."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_PERIOD = 30.0  # seconds between lines in a log file


class Progress:
    """Progress with images/s and the time that is left: a moving bar on a terminal, now and then a line in a log.

    Args:
        total: Number of images, or amount in another unit.
        text: What is done with them.
        shown: Off in all processes but one.
        unit: What is counted.
    """

    def __init__(self, total: float, text: str, *, shown: bool = True, unit: str = 'images') -> None:
        console = Console(stderr=True)
        self.total, self.text, self.shown, self.unit = total, text, shown, unit
        self.done = 0
        self._start = self._last = time.monotonic()
        self._bar = None
        if shown and console.is_terminal:
            rate = TextColumn('{task.fields[rate]}, ETA')
            columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
            self._bar = RichProgress(*columns, console=console)
            self._task = self._bar.add_task(text, total=total, rate='-')
            self._bar.start()

    def advance(self, amount: float = 1) -> None:
        """So many more are done."""
        self.done += amount
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, advance=amount, rate=f'{self.rate:.2f} {self.unit}/s')
        elif self.shown and now - self._last > _PERIOD:
            self._last = now
            left = (self.total - self.done) / self.rate
            count = f'{self.done:.0f}/{self.total:.0f}'
            print(f'{self.text} {count}, {self.rate:.2f} {self.unit}/s, ETA {_clock(left)}', file=sys.stderr)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Images (or units) per second since the start."""
        return self.done / max(self.seconds, 1e-9)

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    """``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02d}:{rest:02d}'
