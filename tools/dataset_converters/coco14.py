"""Turn the instance annotations of MS COCO 2014 into semantic masks and split lists.

    python tools/dataset_converters/coco14.py data/coco

It reads ROOT/annotations/instances_SPLIT.json and writes ROOT/masks/SPLIT/IMAGE.png (palette; ids 1..80 in the order of
the categories, 0 background, 255 crowd regions; of two overlapping objects the smaller is on top) and ROOT/SPLIT.txt,
the images that have annotations: 82,081 of train2014, 40,137 of val2014. Other files in COCO's format work too:
--splits NAME reads instances_NAME.json.

The lists are written last, if there were no problems. After an interruption the same command continues: complete masks
are kept. (After a change of the annotations, remove the folder of the masks first.) The annotations of train2014 take
about 3 GB of memory.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', metavar='ROOT', type=Path, help='the folder that holds annotations')
    parser.add_argument('--splits', nargs='+', default=['train2014', 'val2014'], help='default: train2014 val2014')
    parser.add_argument('--workers', type=int, help='processes; 0: in this one (default: one per core, at most 16)')
    args = parser.parse_args(argv)
    if not args.root.is_dir():
        parser.error(f'there is no folder {args.root}')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.cores import worker_count
from mmseg_wsss.datasets.conversion.coco import MaskTask, read_instances, write_instance_mask
from mmseg_wsss.datasets.image_labels import Problems
from mmseg_wsss.datasets.image_labels.problems import UNREADABLE, DataSetError
from mmseg_wsss.fileio import write_text
from mmseg_wsss.folder_lock import output_folder
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.worker_pool import run_tasks

KNOWN = {'train2014': (82_081, 80), 'val2014': (40_137, 80)}  # images with annotations, categories
COUNT = 'another number than is known'


def convert_split(root: Path, split: str, workers: int) -> None:
    """Write the masks and the list of one split.

    Raises:
        DataSetError: with all problems with the annotations.
        OSError: a file cannot be written.
    """
    problems = Problems(DataSetError)
    path = root / 'annotations' / f'instances_{split}.json'
    images, names = read_instances(path, problems)
    if not images:
        problems.stop(UNREADABLE, f'{path}: no image has an annotation')
    found = (len(images), len(names))
    if found != KNOWN.get(split, found):
        wanted = '{:,} images with annotations and {} categories'.format(*KNOWN[split])
        problems.add(COUNT, f'{path}: {found[0]:,} and {found[1]}, {split} of COCO has {wanted}; download it again')
    problems.raise_if_any()
    folder = root / 'masks' / split
    tasks = (MaskTask(folder / f'{image.name}.png', image) for image in images)
    written = 0
    results = run_tasks(write_instance_mask, tasks, workers=workers)
    for made, error in progress_bar(results, text=f'masks of {split}', total=len(images)):
        written += made
        if error is not None:
            problems.add(UNREADABLE, error)
    print(f'{folder}: {written} masks written')
    problems.raise_if_any()
    write_text(root / f'{split}.txt', ''.join(f'{image.name}\n' for image in images))
    print(f'{root / split}.txt: {len(images)} images; ids 1..{len(names)} are {", ".join(names)}')


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; returns the exit status, 1 when something is wrong."""
    args = parse_args(argv)
    workers = worker_count(args.workers)
    status = 0
    for split in args.splits:
        try:
            with output_folder(args.root):
                convert_split(args.root, split, workers)
        except (DataSetError, OSError, RuntimeError) as error:
            print(f'{error}\n{args.root / split}.txt is not written', file=sys.stderr)
            status = 1
    return status


if __name__ == '__main__':
    sys.exit(main())
