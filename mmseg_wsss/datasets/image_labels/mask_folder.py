"""Image-level labels read from segmentation masks."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmseg.registry import TASK_UTILS

from mmseg_wsss.structures import BACKGROUND, IGNORE

from ..mask_files import read_mask
from .base import Entry, ImageLabelSource
from .names import list_files
from .problems import UNREADABLE, Problems


@TASK_UTILS.register_module()
class MaskFolder(ImageLabelSource):
    """The ids in palette or gray PNG masks: id k is the k-th class, 0 background, 255 ignored.

    Args:
        root: the folder of the masks; a mask is named like its image.
        mask_classes: names of the ids 1, 2, ... if they differ from the requested classes (the 20 VOC classes, of
            which six are trained). Default: the requested classes.
        ignore_tags: names among ``mask_classes`` that are dropped on purpose.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        mask_classes: Sequence[str] | None = None,
        ignore_tags: Sequence[str] = (),
    ) -> None:
        super().__init__(ignore_tags=ignore_tags)
        self.root = Path(root)
        self.mask_classes = None if mask_classes is None else tuple(mask_classes)

    def read(self, classes: tuple[str, ...], problems: Problems) -> Iterator[Entry]:
        """Yield one entry per mask; an id without a class is yielded as the tag ``id 7``."""
        files = list_files(self.root, '.png')
        if not files:
            problems.stop(UNREADABLE, f'{self.root}: no .png mask in it')
        names = dict(enumerate(self.mask_classes or classes, start=1))
        # Decoding releases the interpreter lock, so that threads share the work.
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(_ids_or_error, (self.root / file for file in files))
            for file, ids in zip(files, decoded, strict=True):
                if isinstance(ids, Exception):
                    problems.add(UNREADABLE, str(ids))
                    ids = ()
                yield Entry(file, [names.get(i, f'id {i}') for i in ids], str(self.root / file))


def _ids_or_error(path: Path) -> list[int] | Exception:
    """Foreground ids of one mask, sorted."""
    try:
        return [i for i in read_mask(path).ids if i not in (BACKGROUND, IGNORE)]
    except (OSError, ValueError) as error:
        return error
