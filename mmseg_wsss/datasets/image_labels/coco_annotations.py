"""Image-level labels from an instance annotation file of COCO."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmseg.registry import TASK_UTILS

from ...text_files import read_json
from .base import Entry, ImageLabelSource
from .problems import UNREADABLE, Problems

_LISTS = ('images', 'annotations', 'categories')


@TASK_UTILS.register_module()
class COCOAnnotations(ImageLabelSource):
    """``instances_*.json``: the category names of an image's instances, crowds included.

    Every image of the file is listed, also one without any instance.

    Args:
        path: the annotation file; read as plain JSON, for labels need none of its masks.
        ignore_tags: category names that are dropped on purpose.
    """

    def __init__(self, *, path: str | Path, ignore_tags: Sequence[str] = ()) -> None:
        super().__init__(ignore_tags=ignore_tags)
        self.path = Path(path)

    def read(self, classes: tuple[str, ...], problems: Problems) -> Iterator[Entry]:
        """Yield one entry per image; positions are keys of the file (``instances.json: images[3]``)."""
        with problems.stopping(UNREADABLE):
            content = read_json(self.path)
        if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _LISTS):
            problems.stop(UNREADABLE, f'{self.path}: should be an object with the lists {", ".join(_LISTS)}')
        try:
            files = [(int(image['id']), str(image['file_name'])) for image in content['images']]
            pairs = [(int(item['image_id']), int(item['category_id'])) for item in content['annotations']]
            names = {int(category['id']): str(category['name']) for category in content['categories']}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problems.stop(UNREADABLE, f'{self.path}: an image, annotation or category has a wrong value: {error!r}')
        tags: dict[int, dict[str, None]] = {identity: {} for identity, _ in files}
        for i, (image, category) in enumerate(pairs):
            if image in tags and category in names:
                tags[image][names[category]] = None
            else:
                problems.add(
                    UNREADABLE,
                    f'{self.path}: annotations[{i}]: image_id {image} or category_id {category} is not in the file',
                )
        repeated = {identity for identity, count in Counter(identity for identity, _ in files).items() if count > 1}
        for i, (identity, file) in enumerate(files):
            if identity in repeated:
                problems.add(UNREADABLE, f'{self.path}: images[{i}]: the id {identity} belongs to two images')
            yield Entry(file, list(tags[identity]), f'{self.path}: images[{i}]')
