"""Writing in other processes, because pydensecrf holds the interpreter lock."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_sentinel

import torch
from mmengine.registry import init_default_scope

from .images import Unreadable
from .writer import MaskTask, MaskTaskWriter

_QUEUED = 2  # tasks per worker that may wait in memory
_writer: MaskTaskWriter | None = None


class WorkerPool:
    """Calls a :class:`MaskTaskWriter` in worker processes, or in this one.

    Workers are started afresh instead of forked (a fork takes over the locks of torch's threads but not the threads),
    use one thread each and end with the process that started them, even where that is killed.

    Args:
        writer: Arguments of the :class:`MaskTaskWriter`.
        workers: Number of processes; 0 writes in this one.
        finished: Called for each task with what the writer returned.
    """

    def __init__(self, writer: dict, *, workers: int, finished: Callable[[Unreadable | None], None]) -> None:
        self.finished = finished
        self._limit = _QUEUED * workers
        self._pending: set[Future] = set()
        self._here = MaskTaskWriter(**writer) if workers == 0 else None
        self._executor = None
        if workers:
            context = multiprocessing.get_context('forkserver')
            context.set_forkserver_preload([__name__])  # imported once, not by every worker
            self._executor = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(writer,))

    def submit(self, task: MaskTask) -> None:
        """Hand a task over; waits while too many are under way."""
        if self._executor is None:
            self.finished(self._here(task))
            return
        self._collect(self._limit - 1)
        self._pending.add(self._executor.submit(_run_task, task))

    def _collect(self, allowed: int) -> None:
        """Wait until no more than ``allowed`` tasks are under way."""
        while len(self._pending) > allowed:
            done, self._pending = wait(self._pending, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    self.finished(future.result())
                except BrokenProcessPool as error:
                    raise RuntimeError(
                        'a worker process died, perhaps of too little memory: give fewer --workers; '
                        'the next call goes on with the images that are left'
                    ) from error

    def __enter__(self) -> 'WorkerPool':
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        try:
            if kind is None:
                self._collect(0)
        finally:
            if self._executor is not None:
                self._executor.shutdown(cancel_futures=True)


def _start_worker(writer: dict) -> None:
    """Prepare a worker process."""
    global _writer
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    _writer = MaskTaskWriter(**writer)


def end_with_parent() -> None:
    """A worker whose parent was killed would wait for tasks for ever."""
    wait_for_sentinel([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _run_task(task: MaskTask) -> Unreadable | None:
    return _writer(task)
