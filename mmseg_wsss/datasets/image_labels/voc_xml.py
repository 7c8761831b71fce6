"""Image-level labels from the object annotations of PASCAL VOC."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from defusedxml import DTDForbidden, ElementTree
from mmseg.registry import TASK_UTILS

from .base import Entry, ImageLabelSource
from .names import list_files
from .problems import UNREADABLE, Problems


@TASK_UTILS.register_module()
class VOCXML(ImageLabelSource):
    """``Annotations/*.xml`` of VOC and of labelling tools that write its format.

    The tags of an image are the names of all its objects, *difficult* ones included, as in the label files of the
    published methods. The XML file's own name names the image, not its ``<filename>``, which is often out of date.

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
            tags = []
            try:
                tags = object_names(self.root / file)
            except (ElementTree.ParseError, OSError, ValueError) as error:
                problems.add(UNREADABLE, f'{self.root / file}: {error}')
            yield Entry(file[: -len('.xml')], tags, str(self.root / file))


def object_names(path: Path) -> list[str]:
    """Names of the objects of one annotation, each once, in the order of the file.

    Raises:
        xml.etree.ElementTree.ParseError: not XML; the message has the line.
        ValueError: not a VOC annotation, in an encoding that is not read, or with a document type declaration, which
            can include other files.
        OSError: it cannot be opened.
    """
    try:
        root = ElementTree.parse(path, forbid_dtd=True).getroot()
    except DTDForbidden as error:
        raise ValueError('has a DOCTYPE, which an annotation does not need: remove it') from error
    except (LookupError, ValueError) as error:  # of the encoding that the first line names
        raise ValueError(f'{error}: save it as UTF-8') from error
    if root.tag != 'annotation':
        raise ValueError(f'not a VOC annotation: its outermost element is <{root.tag}>, not <annotation>')
    return list(dict.fromkeys((name.text or '').strip() for name in root.iterfind('object/name')))
