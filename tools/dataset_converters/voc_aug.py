"""Make the augmented training set of PASCAL VOC 2012: unpack, turn SBD's masks into PNG, write train_aug.txt.

    python tools/dataset_converters/voc_aug.py data/VOCdevkit/VOC2012 --sbd benchmark.tgz \\
        --voc VOCtrainval_11-May-2012.tar VOC2012test.tar

VOC2012_ROOT is the folder of the images, into which --voc unpacks them. It writes SegmentationClassAug (palette masks,
ids 0..20 and 255: the official mask of every image of train and val, byte for byte, and SBD's for the other images) and
ImageSets/Segmentation/train_aug.txt (the images of VOC's train and SBD's train and val that are not in VOC's val:
10,582, sorted).

The list is written last, if there were no problems and all counts are the known ones. After an interruption the same
command continues: complete files are kept (official masks with the same bytes, undamaged PNGs of SBD's).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', metavar='VOC2012_ROOT', type=Path, help='the folder that holds (will hold) JPEGImages')
    parser.add_argument('--sbd', type=Path, required=True, help='benchmark.tgz, or benchmark_RELEASE unpacked from it')
    parser.add_argument('--voc', nargs='+', type=Path, default=[], metavar='TAR', help='tar files of VOC to unpack')
    parser.add_argument('--workers', type=int, help='processes; 0: in this one (default: one per core, at most 16)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.cores import worker_count
from mmseg_wsss.datasets.conversion.voc import (
    MaskTask,
    copy_official,
    read_list,
    read_sbd,
    unpack_voc,
    write_sbd_mask,
)
from mmseg_wsss.datasets.image_labels import Problems
from mmseg_wsss.datasets.image_labels.problems import MISSING_IMAGE, MISSING_MASK, UNREADABLE, DataSetError
from mmseg_wsss.fileio import write_text
from mmseg_wsss.folder_lock import output_folder
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.worker_pool import run_tasks

LISTS = Path('ImageSets', 'Segmentation')
KNOWN = {'train': 1464, 'val': 1449, 'test': 1456, 'SBD train and val': 11_355, 'train_aug': 10_582}
COUNT = 'another number of images than is known'


def sbd_masks(sbd: Path, lists: dict[str, list[str]], official: set[str], folder: Path) -> Iterator[MaskTask]:
    """The masks of SBD without an official mask of the same image."""
    for name, where, data in read_sbd(sbd, lists):
        if name not in official:
            yield MaskTask(where, data, folder / f'{name}.png')


def write_masks(root: Path, sbd: Path, workers: int, problems: Problems) -> list[str]:
    """Write SegmentationClassAug; returns the images of train_aug.

    Raises:
        ValueError: a list is missing, or ``sbd`` is not SBD.
    """
    train, val = (read_list(root / LISTS / f'{split}.txt') for split in ('train', 'val'))
    folder = root / 'SegmentationClassAug'
    copied, errors = copy_official([*train, *val], root / 'SegmentationClass', folder)
    lists: dict[str, list[str]] = {}
    tasks = sbd_masks(sbd, lists, {*train, *val}, folder)
    expected = KNOWN['train_aug'] - KNOWN['train']  # of SBD without an official mask; only for the progress
    written = 0
    results = run_tasks(write_sbd_mask, tasks, workers=workers)
    for made, error in progress_bar(results, text="SBD's masks", total=expected):
        written += made
        errors += [error] if error else []
    print(f'{folder}: {copied} official masks and {written} of SBD written')
    for error in errors:
        problems.add(UNREADABLE, error)
    train_aug = sorted({*train, *lists['train'], *lists['val']} - {*val})
    counts = {
        'train': len(set(train)),
        'val': len(set(val)),
        'SBD train and val': len({*lists['train'], *lists['val']}),
        'train_aug': len(train_aug),
    }
    test = root / LISTS / 'test.txt'
    if test.is_file():
        counts['test'] = len(set(read_list(test)))
    for name, count in counts.items():
        if count != KNOWN[name]:
            problems.add(COUNT, f'{root}: {name} has {count:,} images and should have {KNOWN[name]:,}')
    return train_aug


def make_train_aug(root: Path, sbd: Path, tars: Sequence[Path], workers: int) -> None:
    """Unpack, convert and list, as described at the top of this file.

    Raises:
        ValueError, OSError: problems with the files, together (DataSetError) where possible.
    """
    for tar in tars:
        print(f'{tar}: {unpack_voc(tar, root)} files unpacked into {root}')
    problems = Problems(DataSetError)
    problems.advise(COUNT, 'download and unpack the whole of VOC 2012 and SBD again; the lists are part of them')
    train_aug = write_masks(root, sbd, workers, problems)
    images = {path.stem for path in (root / 'JPEGImages').glob('*.jpg')}
    masks = {path.stem for path in (root / 'SegmentationClassAug').glob('[!.]*.png')}
    for name in train_aug:
        if name not in images:
            problems.add(MISSING_IMAGE, f'{root / "JPEGImages" / name}.jpg')
        if name not in masks:
            problems.add(MISSING_MASK, f'{root / "SegmentationClassAug" / name}.png')
    problems.raise_if_any()
    write_text(root / LISTS / 'train_aug.txt', ''.join(f'{name}\n' for name in train_aug))
    print(f'{root / LISTS / "train_aug.txt"}: {len(train_aug)} images')


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; returns the exit status, 1 when something is wrong."""
    args = parse_args(argv)
    try:
        with output_folder(args.root):
            make_train_aug(args.root, args.sbd, args.voc, worker_count(args.workers))
    except (ValueError, OSError, RuntimeError) as error:  # DataSetError is a ValueError
        print(f'{error}\n{args.root / LISTS / "train_aug.txt"} is not written', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
