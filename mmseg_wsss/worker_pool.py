"""Work in other processes, because pydensecrf holds the interpreter lock."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

import torch
from mmengine.registry import init_default_scope

_QUEUED = 2  # tasks per worker that may wait in memory
_job: Callable[[Any], Any] | None = None


def usable_cores() -> int:
    """How many cores this process may use, where several were launched on this machine its share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get('LOCAL_WORLD_SIZE', 1)))  # set by torchrun


class WorkerPool:
    """Calls a job with one task after the other, in worker processes or in this one.

    Workers are started afresh instead of forked (a fork takes over the locks of torch's threads but not the threads),
    use one thread each and end with the process that started them, even where that is killed. The job is made in each
    of them. Only a few tasks are under way at a time, so that memory is bounded.

    Args:
        make: Makes the job; a class or function of a module.
        arguments: Its keyword arguments.
        workers: Number of processes; 0 works in this one.
        finished: Called in this process with what the job returned, in the order of the tasks.
    """

    def __init__(
        self, make: Callable[..., Callable], arguments: dict, *, workers: int, finished: Callable[[Any], None]
    ) -> None:
        self.finished = finished
        self._limit = _QUEUED * workers
        self._pending: deque[Future] = deque()
        self._here = make(**arguments) if workers == 0 else None
        self._executor = None
        if workers:
            context = multiprocessing.get_context('forkserver')
            context.set_forkserver_preload([__name__, make.__module__])  # imported once, not by every worker
            self._executor = ProcessPoolExecutor(
                workers, context, initializer=_start_worker, initargs=(make, arguments)
            )

    def submit(self, task: Any) -> None:
        """Hand a task over; waits while too many are under way."""
        if self._executor is None:
            self.finished(self._here(task))
            return
        self.collect(self._limit - 1)
        self._pending.append(self._executor.submit(_run_task, task))

    def collect(self, allowed: int = 0) -> None:
        """Wait until no more than ``allowed`` tasks are under way; hand over all that is finished in order.

        Raises:
            RuntimeError: a worker process died.
        """
        while self._pending and (len(self._pending) > allowed or self._pending[0].done()):
            try:
                result = self._pending.popleft().result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    'a worker process died, perhaps of too little memory: give fewer --workers'
                ) from error
            self.finished(result)

    def close(self) -> None:
        """End the workers; tasks that were not collected are dropped."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> 'WorkerPool':
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        try:
            if kind is None:
                self.collect()
        finally:
            self.close()


def _start_worker(make: Callable[..., Callable], arguments: dict) -> None:
    """Prepare a worker process."""
    global _job
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    _job = make(**arguments)


def end_with_parent() -> None:
    """A worker whose parent was killed would wait for tasks for ever."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _run_task(task: Any) -> Any:
    return _job(task)
