"""The loop: the network in this process, refinement and writing in the workers."""

from collections.abc import Sequence

from ..progress import Progress
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
    shown: bool = True,
) -> list[Unreadable]:
    """Write the masks, and soft scores where ``images`` asks for them, of some images.

    Args:
        images: All images.
        indices: Those to label.
        scorer: The network.
        threshold: Background score beside CAMs; None for a segmentation.
        writer: Arguments of the ``MaskTaskWriter``: ``palette`` and ``refiner``.
        workers: Processes that refine and write; 0 does it in this one.
        loaders: Processes that read ahead.
        shown: Whether the progress is printed.

    Returns:
        The images that could not be read; the others have their files.
    """
    skipped: list[Unreadable] = []
    with Progress(len(indices), 'pseudo-labels', shown=shown) as progress:

        def finished(problem: Unreadable | None) -> None:
            progress.advance()
            if problem is not None:
                skipped.append(problem)

        with WorkerPool(MaskTaskWriter, writer, workers=workers, finished=finished) as pool:
            for index, item in images.load(indices, loaders):
                if isinstance(item, Unreadable):
                    finished(item)
                    continue
                ids, scores = scorer(item, threshold)
                pool.submit(MaskTask(images.paths[index], images.mask(index), images.soft_scores(index), ids, scores))
    return sorted(skipped)
