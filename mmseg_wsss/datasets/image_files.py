"""Which images a data set has: those of a folder, or of a split list; every problem is reported."""

import os.path as osp
from collections.abc import Iterator, Mapping
from pathlib import Path

from .image_labels import Problems
from .image_labels.names import image_name, list_files
from .image_labels.problems import DUPLICATE, MISSING_IMAGE, OUTSIDE, UNREADABLE


def find_images(
    folder: str, suffixes: str | tuple[str, ...], problems: Problems, *, exclude: str | None = None
) -> dict[str, str]:
    """Name -> relative path of every image below ``folder`` (but not below ``exclude``).

    Raises:
        DataSetError: there is no such folder or no image in it.
    """
    if not osp.isdir(folder):
        problems.stop(UNREADABLE, f'{folder}: no such folder of images')
    images: dict[str, str] = {}
    for path in list_files(folder, suffixes, exclude=exclude):
        first = images.setdefault(image_name(path), path)
        if first != path:
            problems.add(DUPLICATE, f'{osp.join(folder, path)}: has the same name as {first}')
    if not images:
        problems.stop(UNREADABLE, f'{folder}: no image with the extension {suffixes}')
    return images


def listed_images(
    ann_file: str, images: Mapping[str, str], folder: str, problems: Problems
) -> Iterator[tuple[str, str]]:
    """Yield relative path and position (``file:line``) of the images in a split list.

    Args:
        ann_file: one image per line, with or without extension.
        images: what :func:`find_images` found in ``folder``.

    Raises:
        DataSetError: there is no such list or nothing in it.
    """
    if not osp.isfile(ann_file):
        problems.stop(UNREADABLE, f'{ann_file}: no such split list')
    seen: dict[str, int] = {}
    for number, line in enumerate(Path(ann_file).read_text(encoding='utf-8-sig').splitlines(), start=1):
        where = f'{ann_file}:{number}'
        if not line.strip():
            continue
        try:
            name = image_name(line)
        except ValueError as error:
            problems.add(OUTSIDE, f'{where}: {error}')
            continue
        if seen.setdefault(name, number) != number:
            problems.add(DUPLICATE, f'{where}: {line.strip()!r} is listed already in line {seen[name]}')
        elif name not in images:
            problems.add(MISSING_IMAGE, f'{where}: {line.strip()!r} is not in {folder}')
        else:
            yield images[name], where
    if not seen:
        problems.stop(UNREADABLE, f'{ann_file}: lists no image')
