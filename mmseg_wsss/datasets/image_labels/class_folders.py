"""Image-level labels given by the folder of an image."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mmseg.registry import TASK_UTILS

from .base import Entry, ImageLabelSource
from .names import IMAGE_SUFFIXES, composed, image_name, list_files, same_file_content
from .problems import DUPLICATE, UNREADABLE, Problems


@TASK_UTILS.register_module()
class ClassFolders(ImageLabelSource):
    """One folder per class: ``root/cat/a.jpg``.

    The same image in two folders has both tags; a folder ``background`` holds images without tags. The name of an
    image is its path below its class folder (``a``), so the images may be read from ``root`` itself or from another
    folder that holds each once. Two *different* images of one name are an error, because their tags would be mixed.

    Args:
        root: the folder of the class folders.
        ignore_tags: folders that are left out on purpose.
    """

    def __init__(self, *, root: str | Path, ignore_tags: Sequence[str] = ()) -> None:
        super().__init__(ignore_tags=ignore_tags)
        self.root = Path(root)

    def name_of(self, path: str) -> str:
        """Path below the class folder; a path that is not in a class folder stays as it is."""
        folder, slash, rest = path.partition('/')
        return image_name(rest if slash and (self.root / folder).is_dir() else path)

    def read(self, classes: tuple[str, ...], problems: Problems) -> Iterator[Entry]:
        """Yield one entry per image name, with the tags of all folders that hold it."""
        if not self.root.is_dir():
            problems.stop(UNREADABLE, f'{self.root}: no such folder')
        places: dict[str, list[str]] = {}
        for path in list_files(self.root, IMAGE_SUFFIXES):
            folder, slash, rest = path.partition('/')
            if slash and composed(folder) not in self.ignore_tags:
                places.setdefault(image_name(rest), []).append(path)
        if not places:
            problems.stop(UNREADABLE, f'{self.root}: no image in a folder named after its class')
        for name, paths in places.items():
            first, *others = (self.root / path for path in paths)
            for other in others:
                if not same_file_content(first, other):
                    problems.add(DUPLICATE, f'{other}: not the image {first}, though named the same; rename one')
            folders = dict.fromkeys(path.split('/')[0] for path in paths)
            yield Entry(name, [folder for folder in folders if folder != 'background'], str(first))
