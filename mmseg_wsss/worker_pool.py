"""Work in other processes, because pydensecrf holds the interpreter lock."""

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool as WorkerDiedError
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process, set_forkserver_preload
from typing import Any

import torch
from mmengine.registry import init_default_scope


class WorkerPool(AbstractContextManager):
    """Runs tasks in ``workers`` processes, or with 0 in this one; ``make``, of a module, makes the job in each.

    Workers are spawned (a fork copies the locks of torch's threads but not the threads), use one thread each and end
    with the process that started them, even if that is killed. At most two tasks per worker are in progress. An
    exception of a job has its task as a note; a dead worker is a ``WorkerDiedError`` on leaving the ``with`` block.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]], *, workers: int) -> None:
        set_forkserver_preload([__name__])  # imported once, not by every worker
        self._executor = ProcessPoolExecutor(workers, get_context('forkserver'), _start_worker) if workers else None
        self._work = partial(_work, pickle.dumps(make)) if workers else make()  # bytes: what is not found is raised
        self._pending, self._limit = deque(), 2 * workers

    def results(self, *tasks: Any) -> Iterator[Any]:
        """Submit tasks and yield finished results, in the order of the tasks; without tasks wait for all."""
        self._pending += [self._executor.submit(self._work, task) if self._executor else task for task in tasks]
        while self._pending and (not tasks or len(self._pending) > self._limit or self._pending[0].done()):
            first = self._pending.popleft()
            yield first.result() if self._executor else self._work(first)

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each task; tasks are taken as they are needed."""
        for task in tasks:
            yield from self.results(task)
        yield from self.results()

    def __exit__(self, kind: type | None, error: BaseException | None, *traceback: object) -> None:
        """End the workers; unfinished tasks are dropped."""
        if self._executor:
            self._executor.shutdown(cancel_futures=True)
        if isinstance(error, WorkerDiedError):
            text = 'a worker process died, perhaps for lack of memory: use fewer --workers'
            raise WorkerDiedError(text) from error


def run_tasks(function: Callable[[Any], Any], tasks: Iterable[Any], *, workers: int) -> Iterator[Any]:
    """Yield ``function(task)`` in the order of the tasks; the function is one of a module."""
    with WorkerPool(partial(partial, function), workers=workers) as pool:
        yield from pool.run(tasks)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: one stopped while it holds a queue's lock stops the others
    parent = parent_process()  # where it was killed, the workers would wait for tasks for ever
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    torch.set_num_threads(1)
    init_default_scope('mmseg')


@lru_cache(maxsize=1)
def _made(make: bytes) -> Callable[[Any], Any]:
    return pickle.loads(make)()


def _work(make: bytes, task: Any) -> Any:
    try:
        return _made(make)(task)
    except Exception as error:
        getattr(error, 'add_note', str)(f'in the task {task!r:.200}')  # Python 3.10 has no notes
        raise
