"""Work in other processes, because pydensecrf holds the interpreter lock."""

import multiprocessing
import os
import pickle
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

import torch
from mmengine.registry import init_default_scope

_QUEUED = 2  # tasks per worker that may wait in memory
_job: Callable[[Any], Any] | None = None
_problem: Exception | None = None  # why there is no job


class WorkerDiedError(RuntimeError):
    """A worker process ended without being told to."""


def usable_cores() -> int:
    """How many cores this process may use, where several were launched on this machine its share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    together, own = _number('LOCAL_WORLD_SIZE'), _number('SLURM_CPUS_PER_TASK')  # the first is torchrun's
    if together is None and own is not None:
        return max(1, min(cores, own))  # whether or not Slurm has bound the process to them
    return max(1, cores // (together or _number('SLURM_NTASKS_PER_NODE') or 1))


def _number(variable: str) -> int | None:
    """The number that an environment variable starts with (Slurm writes ``8(x2)`` for 8 on each of 2 machines)."""
    found = re.match(r'\d+', os.environ.get(variable, ''))
    return None if found is None else int(found[0])


class WorkerPool:
    """Calls a job with one task after the other, in worker processes or in this one.

    Workers are started afresh instead of forked (a fork takes over the locks of torch's threads but not the threads),
    use one thread each and end with the process that started them, even where that is killed. The job is made in each
    of them. Only a few tasks are under way at a time, so that memory is bounded.

    Args:
        make: Makes the job; a class or function of a module. What it raises in a worker is raised by ``collect``.
        arguments: Its keyword arguments. Classes among them are imported by the workers; a class that is named by a
            string must be registered by what is imported anyway.
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
            # Pickled here, so that a worker that cannot import a part of it lives on to say so.
            self._executor = ProcessPoolExecutor(
                workers, context, initializer=_start_worker, initargs=(pickle.dumps((make, arguments)),)
            )

    def submit(self, task: Any) -> None:
        """Hand a task over; waits while too many are under way.

        Raises:
            WorkerDiedError: a worker process died.
        """
        if self._executor is None:
            self.finished(self._here(task))
            return
        self.collect(self._limit - 1)
        with _naming_death():
            self._pending.append(self._executor.submit(_run_task, task))

    def collect(self, allowed: int = 0) -> None:
        """Wait until no more than ``allowed`` tasks are under way; hand over all that is finished in order.

        Raises:
            WorkerDiedError: a worker process died.
        """
        while self._pending and (len(self._pending) > allowed or self._pending[0].done()):
            with _naming_death():
                result = self._pending.popleft().result()
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


@contextmanager
def _naming_death() -> Iterator[None]:
    """Say what a broken pool means."""
    try:
        yield
    except BrokenProcessPool as error:
        raise WorkerDiedError('a worker process died, perhaps of too little memory: give fewer --workers') from error


def _start_worker(pickled: bytes) -> None:
    """Prepare a worker process; an error here would end it without a word, so the first task raises it."""
    global _job, _problem
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    try:
        make, arguments = pickle.loads(pickled)
        _job = make(**arguments)
    except Exception as error:
        _problem = error


def end_with_parent() -> None:
    """A worker whose parent was killed would wait for tasks for ever."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _run_task(task: Any) -> Any:
    if _problem is not None:
        raise _problem
    return _job(task)
