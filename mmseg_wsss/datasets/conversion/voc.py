"""PASCAL VOC 2012 from its tar files, and the masks of the Semantic Boundaries Dataset (SBD) beside it."""

import io
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat

from mmseg_wsss.datasets.mask_files import is_whole_palette_png, write_mask
from mmseg_wsss.fileio import whole_file
from mmseg_wsss.text_files import read_text

NUM_CLASSES = 20
_IMAGE_ID = re.compile(r'\d{4}_\d{6}')
_ROOT = ('VOCdevkit', 'VOC2012')
# The largest tar file of VOC 2012 has 2.0 GB, its largest member and that of SBD less than 1 MB.
MEMBER_BYTES, TAR_BYTES = 16 << 20, 4 << 30


class MaskTask(NamedTuple):
    """A mask of SBD to write; ``data`` is the content of the file ``source``."""

    source: str
    data: bytes
    target: Path


def unpack_voc(tar: Path, root: Path) -> int:
    """Unpack the files below ``VOCdevkit/VOC2012`` of a tar file into ``root``; files that exist there are kept.

    Returns:
        how many files were written.

    Raises:
        ValueError: it is not a (complete) tar file of VOC 2012, a member would be written outside ``root`` or has more
            than 16 MiB, or all of them have more than 4 GiB.
    """
    written = found = total = 0
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if parts[:1] == ('/',) or '..' in parts or not (member.isfile() or member.isdir()):
                    raise ValueError(f'{tar}: the member {member.name!r} is a link or leaves the folder: not unpacked')
                if parts[:2] != _ROOT or member.isdir():
                    continue
                found += 1
                _check_size(member, tar)
                total += member.size
                if total > TAR_BYTES:
                    raise ValueError(
                        f'{tar}: more than {TAR_BYTES:,} bytes with {member.name!r}: no tar file of VOC 2012'
                    )
                target = root.joinpath(*parts[2:])
                if target.is_file() and target.stat().st_size == member.size:
                    continue
                with whole_file(target) as temporary, temporary.open('wb') as file:
                    shutil.copyfileobj(archive.extractfile(member), file)
                written += 1
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f'{tar}: not a complete tar file: {error}') from error
    if not found:
        raise ValueError(f'{tar}: has no file below {"/".join(_ROOT)}, so it is not a tar file of VOC 2012')
    return written


def _check_size(member: tarfile.TarInfo, tar: Path) -> None:
    """Raise a ValueError for a member with which a small tar file could fill the disk or the memory."""
    if member.issparse() or member.size > MEMBER_BYTES:
        what = 'is sparse' if member.issparse() else f'has {member.size:,} bytes, more than {MEMBER_BYTES:,}'
        raise ValueError(f'{tar}: the member {member.name!r} {what}: no file of VOC 2012 or SBD')


def read_list(path: Path) -> list[str]:
    """The image ids of a split list.

    Raises:
        ValueError: there is no such list, or a line is not an id of VOC.
    """
    if not path.is_file():
        raise ValueError(f'{path}: no such list')
    return _ids(read_text(path), str(path))


def _ids(text: str, where: str) -> list[str]:
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    for name in names:
        if not _IMAGE_ID.fullmatch(name):
            raise ValueError(f'{where}: {name!r} is not an image id of VOC (2007_000032)')
    return names


def read_sbd(source: Path, lists: dict[str, list[str]]) -> Iterator[tuple[str, str, bytes]]:
    """Yield image id, file and content of every mask of SBD; nothing is unpacked.

    Args:
        source: ``benchmark.tgz``, or the folder ``benchmark_RELEASE`` unpacked from it.
        lists: gets the ids of ``train.txt`` and ``val.txt`` under ``train`` and ``val`` while this is read.

    Raises:
        ValueError: it is not SBD.
    """
    files = _files(source) if source.is_dir() else _members(source)
    for parts, where, data in files:
        if parts[-2:] in (('dataset', 'train.txt'), ('dataset', 'val.txt')):
            lists[parts[-1][:-4]] = _ids(data.decode('utf-8', errors='replace'), where)
        else:
            yield *_ids(parts[-1][:-4], where), where, data
    missing = {'train', 'val'} - set(lists)
    if missing:
        raise ValueError(f'{source}: no dataset/{sorted(missing)[0]}.txt in it, so it is not the whole of SBD')


def _wanted(parts: tuple[str, ...]) -> bool:
    if parts[-1:] and parts[-1][0] == '.':
        return False
    return parts[-2:] in (('dataset', 'train.txt'), ('dataset', 'val.txt')) or (
        parts[-3:-1] == ('dataset', 'cls') and parts[-1].endswith('.mat')
    )


def _files(folder: Path) -> Iterator[tuple[tuple[str, ...], str, bytes]]:
    folder = next((place for place in (folder, folder / 'benchmark_RELEASE') if (place / 'dataset').is_dir()), folder)
    for path in sorted([*folder.glob('dataset/*.txt'), *folder.glob('dataset/cls/*.mat')]):
        if _wanted(path.parts):
            yield path.parts, str(path), path.read_bytes()


def _members(tar: Path) -> Iterator[tuple[tuple[str, ...], str, bytes]]:
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if member.isfile() and _wanted(parts):
                    _check_size(member, tar)
                    yield parts, f'{tar}:{member.name}', archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f'{tar}: not a complete tar file: {error}') from error


def decode_sbd(data: bytes, where: str) -> np.ndarray:
    """The ids of a ``dataset/cls/*.mat``, ``GTcls.Segmentation``, as uint8 (H, W) of 0..20; SBD has no 255.

    Raises:
        ValueError: it is not such a file; the message begins with ``where``.
    """
    try:
        content = loadmat(io.BytesIO(data), variable_names=['GTcls'])
        ids = np.asarray(content['GTcls']['Segmentation'][0, 0])
    except Exception as error:  # scipy raises many kinds for a broken file
        raise ValueError(f'{where}: not a mask of SBD (GTcls.Segmentation of a .mat): {error!r}') from error
    if ids.ndim != 2 or ids.dtype.kind not in 'iuf' or not ids.size:
        raise ValueError(f'{where}: GTcls.Segmentation should be numbers (H, W), and is {ids.dtype} {ids.shape}')
    wrong = np.setdiff1d(ids, np.arange(NUM_CLASSES + 1))
    if wrong.size:
        raise ValueError(f'{where}: has the ids {wrong.tolist()}, SBD has 0..{NUM_CLASSES}')
    return ids.astype(np.uint8)


def write_sbd_mask(task: MaskTask) -> tuple[bool, str | None]:
    """Write a mask unless it exists; returns whether it was written, and what is wrong with its source."""
    if is_whole_palette_png(task.target):
        return False, None
    try:
        write_mask(task.target, decode_sbd(task.data, task.source))
    except ValueError as error:
        return False, str(error)
    return True, None


def copy_official(names: Iterable[str], source: Path, target: Path) -> tuple[int, list[str]]:
    """Copy the official masks into ``target``, byte for byte, replacing other files of the same name.

    Returns:
        how many were written, and what is wrong.
    """
    written, errors = 0, []
    for name in names:
        mask, copy = source / f'{name}.png', target / f'{name}.png'
        if not is_whole_palette_png(mask):
            errors.append(f'{mask}: missing, damaged, or not a palette PNG')
        elif not copy.is_file() or copy.read_bytes() != mask.read_bytes():
            with whole_file(copy) as temporary:
                shutil.copyfile(mask, temporary)
            written += 1
    return written, errors
