"""The loop: the network in this process, refinement and writing in the workers."""

from collections.abc import Iterator, Sequence
from functools import partial

from ..progress import progress_bar
from ..worker_pool import WorkerPool
from .images import ImageList, Unreadable
from .scores import Scorer
from .writer import MaskTask, MaskTaskWriter


def label_images(
    images: ImageList,
    indices: Sequence[int],
    *,
    scorer: Scorer,
    threshold: float | None,
    writer: dict,
    workers: int = 0,
    loaders: int = 0,
) -> list[Unreadable]:
    """Write the masks of some images, and their soft scores if ``images`` has files for them.

    Args:
        images: All images.
        indices: Those to label.
        scorer: The network.
        threshold: Background threshold of the CAMs; None for a segmentation.
        writer: Arguments of the ``MaskTaskWriter``: ``palette`` and ``refiner``.
        workers: Processes that refine and write; 0 does it in this one.
        loaders: Processes that read ahead.

    Returns:
        The images that could not be read; the others have their files.
    """
    skipped: list[Unreadable] = []
    with progress_bar(total=len(indices), text='pseudo-labels') as progress:

        def tasks() -> Iterator[MaskTask]:
            for index, item in images.load(indices, loaders):
                if isinstance(item, Unreadable):
                    skipped.append(item)
                    progress.update()
                else:
                    ids, scores = scorer(item, threshold)
                    yield MaskTask(images.paths[index], images.mask(index), images.soft_scores(index), ids, scores)

        with WorkerPool(partial(MaskTaskWriter, **writer), workers=workers) as pool:
            for problem in pool.run(tasks()):
                progress.update()
                if problem is not None:
                    skipped.append(problem)
    return sorted(skipped)
