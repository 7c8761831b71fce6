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
        total: Number of images.
        text: What is done with them.
        shown: Off in all processes but one.
    """

    def __init__(self, total: int, text: str, *, shown: bool = True) -> None:
        console = Console(stderr=True)
        self.total, self.text, self.shown = total, text, shown
        self.done = 0
        self._start = self._last = time.monotonic()
        self._bar = None
        if shown and console.is_terminal:
            rate = TextColumn('{task.fields[rate]}, ETA')
            columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
            self._bar = RichProgress(*columns, console=console)
            self._task = self._bar.add_task(text, total=total, rate='-')
            self._bar.start()

    def advance(self) -> None:
        """One image more is done."""
        self.done += 1
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, advance=1, rate=f'{self.rate:.2f} images/s')
        elif self.shown and now - self._last > _PERIOD:
            self._last = now
            left = (self.total - self.done) / self.rate
            print(
                f'{self.text} {self.done}/{self.total}, {self.rate:.2f} images/s, ETA {_clock(left)}', file=sys.stderr
            )

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Images per second since the start."""
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
