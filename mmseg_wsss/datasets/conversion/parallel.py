"""One function over many files, in several processes."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from mmseg_wsss.progress import Progress
from mmseg_wsss.pseudo_labels.pool import end_with_parent

Result = TypeVar('Result')
_QUEUED = 8  # tasks per worker that may wait in memory


def default_workers() -> int:
    """As many processes as there are cores for this one, 16 at most: the disk is the limit then."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)


def run_tasks(
    function: Callable[[Any], Result], tasks: Iterable[Any], total: int, text: str, *, workers: int
) -> Iterator[Result]:
    """Yield ``function(task)`` in the order of the tasks, and show how far it is.

    Tasks are taken as they are needed, so that an iterator may read them from a large file.

    Args:
        function: of a module (workers find it by its name); what it raises is raised here and ends the run.
        tasks: what can be pickled.
        total: number of tasks, for the progress.
        text: what is done, for the progress.
        workers: number of processes; 0 works in this one.

    Raises:
        RuntimeError: a worker process died.
    """
    with Progress(total, text) as progress:
        results = _in_processes(function, tasks, workers) if workers else map(function, tasks)
        for result in results:
            progress.advance()
            yield result


def _in_processes(function: Callable[[Any], Result], tasks: Iterable[Any], workers: int) -> Iterator[Result]:
    with _pool(function.__module__, workers) as pool:
        pending: deque[Future] = deque()
        for task in tasks:
            if len(pending) >= _QUEUED * workers:
                yield _result(pending.popleft())
            pending.append(pool.submit(function, task))
        while pending:
            yield _result(pending.popleft())


def _result(future: Future) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            'a worker process died, perhaps of too little memory: give fewer --workers; '
            'the next call goes on with the files that are left'
        ) from error


@contextmanager
def _pool(module: str, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are started afresh (a fork takes over the locks of torch's threads but not the threads)."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([module])  # imported once, not by every worker
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
