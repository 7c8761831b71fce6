"""Which images a data set has, those of a folder or of a split list, and which of them can be read."""

import os.path as osp
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from ..progress import progress_bar
from ..text_files import read_text
from .image_labels import Problems
from .image_labels.names import IMAGE_SUFFIXES, UNREAD_SUFFIXES, image_name, list_files, without_folder
from .image_labels.problems import BROKEN_IMAGE, DUPLICATE, MISSING_IMAGE, OUTSIDE, UNREADABLE, UNSUPPORTED
from .open_image import open_image

MAX_RATIO = 100  # of the sides of an image
_SHOWN_AFTER = 10.0  # seconds
_HOW_TO_CONVERT = (
    'convert them to JPEG, with `sips -s format jpeg FILE.heic --out FILE.jpg` (macOS) or `magick FILE.heic FILE.jpg` '
    '(ImageMagick); the names in tags and lists may stay as they are'
)


def find_images(
    folder: str, suffixes: str | tuple[str, ...], problems: Problems, *, exclude: str | None = None
) -> dict[str, str]:
    """Name -> relative path of every image below ``folder`` (but not below ``exclude``).

    With the default extensions, photographs in formats that are not read are among them, unless an image that is read
    has the same name; see :func:`is_supported`.

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
    if suffixes == IMAGE_SUFFIXES:
        for path in list_files(folder, UNREAD_SUFFIXES, exclude=exclude):
            images.setdefault(image_name(path), path)
    if not images:
        problems.stop(UNREADABLE, f'{folder}: no image with the extension {suffixes}')
    return images


def is_supported(folder: str, path: str, where: str, problems: Problems) -> bool:
    """Whether an image of :func:`find_images` is in a format that is read, by its extension; if not, it is noted."""
    if not path.lower().endswith(UNREAD_SUFFIXES):
        return True
    file = osp.join(folder, path)
    problems.add(UNSUPPORTED, file if where == file else f'{where}: {file}')
    problems.advise(UNSUPPORTED, _HOW_TO_CONVERT)
    return False


def check_images(paths: Iterable[str], problems: Problems) -> None:
    """Note every image file that could not be read in training; see :func:`image_error`.

    Reading releases the interpreter lock, so that threads share the work. Measured on one core and files in memory, for
    1,000 images: JPEG 0.1 s; PNG 0.6 s at VOC's size, 9 s at 12 megapixels; what has to be decoded, at 12 megapixels,
    80 s (JPEG with a trailer) or 270 s (WebP).
    """
    paths = list(paths)
    bar = progress_bar(paths, text='images checked', unit=' images', delay=_SHOWN_AFTER)
    with ThreadPoolExecutor() as pool:
        for path, error in zip(bar, pool.map(image_error, paths), strict=True):
            if error is not None:
                problems.add(BROKEN_IMAGE, f'{path}: {error}')
    problems.advise(BROKEN_IMAGE, 'copy or export these files again, or take them out of the tags and lists')


def image_error(path: str) -> str | None:
    """What is wrong with an image file, found without decoding it where that is enough; None for a good one.

    Of a JPEG the header is read and whether it ends as a JPEG does; a PNG is read and its checksums are compared; only
    other files are decoded.
    """
    try:
        with open_image(path) as image:
            if strip := strip_error(image.size):
                return strip
            if image.format == 'PNG':
                image.verify()
            elif image.format not in ('JPEG', 'MPO') or not _ends_as_jpeg(path):
                image.load()
    except (OSError, ValueError) as error:
        return str(error).removeprefix(f'{path}: ')
    return None


def strip_error(size: tuple[int, int]) -> str | None:
    """What is wrong with an image that is a strip: resized by its longer side it vanishes, by its shorter it is huge.

    Args:
        size: its sides in pixels.
    """
    if max(size) <= MAX_RATIO * min(size):
        return None
    return f'{size[0]} x {size[1]} pixels, one side more than {MAX_RATIO} times the other: cut it up, or leave it out'


def _ends_as_jpeg(path: str) -> bool:
    """Whether the last two bytes are the marker of the end; cameras may write more after it."""
    with open(path, 'rb') as file:
        file.seek(-2, 2)
        return file.read() == b'\xff\xd9'


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
    with problems.stopping(UNREADABLE):
        lines = read_text(ann_file).splitlines()
    for number, line in enumerate(lines, start=1):
        where = f'{ann_file}:{number}'
        if not line.strip():
            continue
        try:
            name = image_name(line)
        except ValueError as error:
            problems.add(OUTSIDE, f'{where}: {error}')
            continue
        name = without_folder(name, images, folder)
        if seen.setdefault(name, number) != number:
            problems.add(DUPLICATE, f'{where}: {line.strip()!r} is listed already in line {seen[name]}')
        elif name not in images:
            problems.add(MISSING_IMAGE, f'{where}: {line.strip()!r} is not in {folder}')
        else:
            yield images[name], where
    if not seen:
        problems.stop(UNREADABLE, f'{ann_file}: lists no image')
