"""One function over many files, in several processes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from mmseg_wsss.progress import progress_bar
from mmseg_wsss.worker_pool import WorkerPool, usable_cores

Result = TypeVar('Result')


def default_workers() -> int:
    """As many processes as there are cores for this one, 16 at most: the disk is the limit then."""
    return min(16, usable_cores())


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
    results: deque[Result] = deque()
    with (
        progress_bar(total=total, text=text) as progress,
        WorkerPool(_itself, dict(function=function), workers=workers, finished=results.append) as pool,
    ):
        for task in tasks:
            pool.submit(task)
            while results:
                progress.update()
                yield results.popleft()
        pool.collect()
        for result in results:
            progress.update()
            yield result


def _itself(*, function: Callable[[Any], Result]) -> Callable[[Any], Result]:
    """The job of a worker is the function."""
    return function
