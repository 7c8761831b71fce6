"""Work in other processes, because pydensecrf holds the interpreter lock."""

import multiprocessing
import os
import pickle
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any

import torch
from mmengine.registry import init_default_scope


class WorkerDiedError(RuntimeError):
    """A worker process ended unexpectedly."""


def usable_cores() -> int:
    """How many cores this process may use; its share if several processes were launched on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    names = ('LOCAL_WORLD_SIZE', 'SLURM_CPUS_PER_TASK', 'SLURM_NTASKS_PER_NODE')  # Slurm: 8(x2) is 8 on each of 2 nodes
    numbers = (re.match(r'\d+', os.environ.get(name, '')) for name in names)
    together, own, tasks = (number and int(number[0]) for number in numbers)
    if own and not together:
        return min(cores, own)  # whether or not Slurm has bound the process to them
    return max(1, cores // (together or tasks or 1))


class WorkerPool(AbstractContextManager):
    """Runs tasks in worker processes, or in this one; results come in the order of the tasks.

    Workers are spawned instead of forked (a fork copies the locks of torch's threads but not the threads), use one
    thread each and end with the process that started them, even if that is killed. Two tasks per worker are in
    progress at a time, so that memory is bounded. An exception of a job has its task as a note (Python 3.11).

    Args:
        make: Makes the job, in each worker: a class of a module, or a ``partial`` of one.
        workers: Number of processes; 0 works in this one.

    Raises:
        WorkerDiedError: on leaving the ``with`` block, because a worker process died.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]], *, workers: int) -> None:
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload([__name__])  # imported once, not by every worker
        self._executor = ProcessPoolExecutor(workers, context, _start_worker) if workers else None
        self._make = pickle.dumps(make) if workers else b''  # as bytes: a worker can report what it cannot import
        self._job = None if workers else make()
        self._pending: deque[Any] = deque()  # futures; tasks where there are no workers
        self._limit = 2 * workers

    def submit(self, task: Any) -> None:
        """Submit a task; call ``results()`` after each."""
        self._pending.append(self._executor.submit(_work, self._make, task) if self._executor else task)

    def results(self, *, last: bool = False) -> Iterator[Any]:
        """Yield finished results; wait while too many tasks are in progress or, with ``last``, for all of them."""
        while self._pending and (last or len(self._pending) > self._limit or self._pending[0].done()):
            first = self._pending.popleft()
            yield first.result() if self._executor else self._job(first)

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each task; tasks are taken as they are needed."""
        for task in tasks:
            self.submit(task)
            yield from self.results()
        yield from self.results(last=True)

    def __exit__(self, kind: type | None, error: BaseException | None, *traceback: object) -> None:
        """End the workers; unfinished tasks are dropped."""
        if self._executor:
            self._executor.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            text = 'a worker process died, perhaps for lack of memory: use fewer --workers'
            raise WorkerDiedError(text) from error


def run_tasks(function: Callable[[Any], Any], tasks: Iterable[Any], *, workers: int) -> Iterator[Any]:
    """Yield ``function(task)`` in the order of the tasks; the function is one of a module."""
    with WorkerPool(partial(partial, function), workers=workers) as pool:
        yield from pool.run(tasks)


def _start_worker() -> None:
    # Ctrl-C reaches every process: a worker that is stopped while it holds a queue's lock would block the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    init_default_scope('mmseg')


def _end_with_parent() -> None:
    """End this worker when its parent ends; if the parent was killed, it would wait for tasks for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(make: bytes, task: Any) -> Any:
    try:
        return _made(make)(task)
    except Exception as error:
        if hasattr(error, 'add_note'):
            error.add_note(f'in the task {task!r:.200}')
        raise


@lru_cache(maxsize=1)
def _made(make: bytes) -> Callable[[Any], Any]:
    return pickle.loads(make)()
