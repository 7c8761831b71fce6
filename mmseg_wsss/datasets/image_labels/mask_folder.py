"""Image-level labels read off segmentation masks."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mmseg.registry import TASK_UTILS
from PIL import Image

from mmseg_wsss.structures import BACKGROUND, IGNORE

from .base import Entry, ImageLabelSource
from .names import list_files
from .problems import UNREADABLE, Problems


@TASK_UTILS.register_module()
class MaskFolder(ImageLabelSource):
    """The ids in palette or gray PNG masks: id k is the k-th class, 0 background, 255 ignored.

    Args:
        root: the folder of the masks; a mask is named like its image.
        mask_classes: names of the ids 1, 2, ... where they are not the classes that are asked for (the 20 VOC classes,
            of which six are trained). Default: the classes that are asked for.
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
            decoded = pool.map(partial(_ids_or_error, self.root), files)
            for file, ids in zip(files, decoded, strict=True):
                where = str(self.root / file)
                if isinstance(ids, Exception):
                    problems.add(UNREADABLE, f'{where}: {ids}')
                    ids = ()
                yield Entry(file, [names.get(i, f'id {i}') for i in ids], where)


def mask_ids(path: str | Path) -> list[int]:
    """Foreground ids of one mask, sorted.

    Raises:
        OSError: missing, truncated or no image.
        ValueError: not a palette or an 8-bit gray image.
    """
    with Image.open(path) as mask:
        if mask.mode not in ('P', 'L'):
            raise ValueError(f'a mask of mode {mask.mode}: class ids need a palette or 8-bit gray image')
        counts = mask.histogram()
    return [i for i, count in enumerate(counts) if count and i not in (BACKGROUND, IGNORE)]


def _ids_or_error(root: Path, file: str) -> list[int] | Exception:
    try:
        return mask_ids(root / file)
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
        return error
