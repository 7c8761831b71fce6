"""A folder of masks as this project writes them, with the names of its ids and the images that belong to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmseg_wsss.structures import IGNORE

from ..image_files import find_images
from ..image_labels import Problems, check_classes
from ..image_labels.names import IMAGE_SUFFIXES, files_by_name
from ..image_labels.problems import MISSING_IMAGE, UNREADABLE, DataSetError
from ..label_map import LABEL_MAP, foreground, manifest_classes, read_label_map
from ..mask_files import misfits, read_mask, upright_size
from ..open_image import open_image


class MaskSet(NamedTuple):
    """The folder of the PNG files, the names of the ids 0, 1, ..., and image name -> relative path of its mask."""

    folder: Path
    classes: tuple[str, ...]
    masks: dict[str, str]


class MaskOfImage(NamedTuple):
    """A mask that fits its image: paths, the image's path below its folder, upright size, and the ids in the mask."""

    mask: Path
    image: Path
    relative: str
    size: tuple[int, int]  # width, height
    ids: list[int]


def open_mask_set(folder: Path, classes: Sequence[str] | None = None) -> MaskSet:
    """Find the masks of a folder.

    Args:
        folder: what ``tools/make_pseudo_labels.py --out`` or ``tools/test.py --out`` wrote, or any other folder of
            PNG files whose pixels are ids.
        classes: names of the ids 1, 2, ...; None looks for them in the ``manifest.json`` or ``labelmap.txt`` there.

    Raises:
        ValueError: there is no mask, nothing says what the ids mean, or the folder says something else than classes.
    """
    root = folder.parent if folder.name == 'SegmentationClass' else folder
    masks = root / 'SegmentationClass' if (root / 'SegmentationClass').is_dir() else root
    known = _classes_of(root)
    given = None if classes is None else ('background', *check_classes(classes))
    if given is None and known is None:
        raise ValueError(
            f'{root}: has neither manifest.json nor {LABEL_MAP}, which say what the ids mean: give --classes'
        )
    if given is not None and known is not None and given != known:
        raise ValueError(f'{root}: holds masks of the classes {", ".join(known)}, not of {", ".join(given)}')
    found = files_by_name(masks, '.png')
    if not found:
        raise ValueError(f'{masks}: no .png mask in it')
    return MaskSet(masks, known or given, found)


def _classes_of(root: Path) -> tuple[str, ...] | None:
    manifest, label_map = root / 'manifest.json', root / LABEL_MAP
    if manifest.is_file() and (classes := manifest_classes(manifest)):
        return classes
    if not label_map.is_file():
        return None
    table = read_label_map(label_map)
    first = next(iter(table.values()))
    if first != 'background':
        raise ValueError(f'{label_map}: begins with {first!r}, but id 0 is background: give --classes')
    return ('background', *foreground(table))


def masks_of_images(masks: MaskSet, images: Path) -> list[MaskOfImage]:
    """All masks with their images, in the order of their names; every file is read.

    Raises:
        DataSetError: masks without an image, of another size, or with ids that no class has, all at once.
    """
    problems = Problems(DataSetError)
    paths = find_images(str(images), IMAGE_SUFFIXES, problems)
    allowed = {*range(len(masks.classes)), IGNORE}
    found = []
    for name, file in masks.masks.items():
        mask = masks.folder / file
        if name not in paths:
            problems.add(MISSING_IMAGE, f'{mask}: no image of this name in {images}')
            continue
        image = images / paths[name]
        try:
            content = read_mask(mask)
            with open_image(image) as opened:
                size = upright_size(opened)
        except (OSError, ValueError) as error:
            problems.add(UNREADABLE, str(error))
            continue
        for kind, text in misfits(mask, content, image, size, allowed):
            problems.add(kind, text)
        found.append(MaskOfImage(mask, image, paths[name], size, content.ids))
    problems.raise_if_any()
    return found
