"""Image-level labels from the object annotations of PASCAL VOC."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.parsers import expat

from mmseg.registry import TASK_UTILS

from .base import Entry, ImageLabelSource
from .names import list_files
from .problems import UNREADABLE, Problems


@TASK_UTILS.register_module()
class VOCXML(ImageLabelSource):
    """``Annotations/*.xml`` of VOC and of labelling tools that write its format.

    The tags of an image are the names of all its objects, *difficult* ones included, as in the label files of the
    published methods. The image is named by the XML file, not by its ``<filename>``, which labelling tools leave stale.

    Args:
        root: the folder of the XML files.
        ignore_tags: object names that are dropped on purpose.
    """

    def __init__(self, *, root: str | Path, ignore_tags: Sequence[str] = ()) -> None:
        super().__init__(ignore_tags=ignore_tags)
        self.root = Path(root)

    def read(self, classes: tuple[str, ...], problems: Problems) -> Iterator[Entry]:
        """Yield one entry per XML file."""
        files = list_files(self.root, '.xml')
        if not files:
            problems.stop(UNREADABLE, f'{self.root}: no .xml file in it')
        for file in files:
            tags: dict[str, int] = {}
            try:
                tags = object_names((self.root / file).read_bytes())
            except (expat.ExpatError, ValueError) as error:
                problems.add(UNREADABLE, f'{self.root / file}:{getattr(error, "lineno", 1)}: {error}')
            # The line of the first object: a file shows few objects, its line is enough to find a wrong one.
            yield Entry(file[: -len('.xml')], list(tags), f'{self.root / file}:{min(tags.values(), default=1)}')


def object_names(data: bytes) -> dict[str, int]:
    """Names of the objects of one annotation -> line of their first mention.

    Raises:
        xml.parsers.expat.ExpatError: not XML.
        ValueError: not a VOC annotation, or a document type declaration, by which XML brings in other files.
    """
    path: list[str] = []
    text: list[str] = []
    names: dict[str, int] = {}
    parser = expat.ParserCreate()

    def start(tag: str, _: dict) -> None:
        path.append(tag)
        text.clear()
        if path[0] != 'annotation':
            raise ValueError(f'not a VOC annotation: its outermost element is <{path[0]}>, not <annotation>')

    def end(_: str) -> None:
        if path == ['annotation', 'object', 'name']:
            names.setdefault(''.join(text).strip(), parser.CurrentLineNumber)
        path.pop()

    def refuse(*_: object) -> None:
        raise ValueError('has a DOCTYPE, which an annotation does not need: take it out')

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text.append, refuse
    parser.Parse(data, True)
    return names
