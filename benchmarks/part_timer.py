"""Where the time of a training step goes: wraps methods of built objects, so the measured code stays as it is."""

import functools
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

WHOLE, REST = 'total', 'rest'
CLOCKS = ('wall_s', 'cpu_s', 'page_faults')


class PartTimer:
    """Collects what each named part of an iteration costs.

    A part inside another one is called ``outer/inner`` and is contained in the outer one's figures, so parts without a
    slash and :data:`REST` (what no part covers) add up to :data:`WHOLE`. Several calls of a part in one iteration add
    up too. On CUDA the device is synchronised at both ends of every part: times belong to the part that caused them,
    and the total is a little above that of an undisturbed iteration.

    Args:
        device: the device that computes.

    Attributes:
        iterations: per iteration part -> array (3,) of wall seconds, CPU seconds of all threads, minor page faults.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.iterations: list[dict[str, np.ndarray]] = []
        self._open: list[str] = []

    @contextmanager
    def iteration(self) -> Iterator[None]:
        """Measure one iteration."""
        self.iterations.append({})
        with self._measured(WHOLE):
            yield
        parts = self.iterations[-1]
        parts[REST] = parts[WHOLE] - sum(cost for path, cost in parts.items() if path != WHOLE and '/' not in path)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure a part of the running iteration, or of the part that is open."""
        self._open.append(name)
        try:
            with self._measured('/'.join(self._open)):
                yield
        finally:
            self._open.pop()

    def wrap(self, owner: object, method: str, name: str) -> None:
        """Make every call of ``owner.method`` the part ``name``; other instances of its class stay as they are."""
        original = getattr(owner, method)

        @functools.wraps(original)
        def measured(*args, **kwargs):
            with self.part(name):
                return original(*args, **kwargs)

        setattr(owner, method, measured)

    @contextmanager
    def _measured(self, path: str) -> Iterator[None]:
        costs = self.iterations[-1]
        costs.setdefault(path, np.zeros(len(CLOCKS)))  # at the start, so that an outer part is listed before its inner
        before = self._read_clocks()
        yield
        costs[path] = costs[path] + self._read_clocks() - before

    def _read_clocks(self) -> np.ndarray:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return np.array([time.perf_counter(), time.process_time(), faults])


def peak_memory(device: torch.device) -> int:
    """Bytes: the peak of torch's CUDA allocator, or on a CPU the peak resident memory of the whole process."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024
