"""Turn masks in colours into the masks of ids that everything here reads.

    python tools/dataset_converters/colour_masks.py SegmentationClass masks --colours labelmap.txt --classes cat dog

The table has a line per colour, `name r g b`, or is the labelmap.txt of an annotation tool (`name:r,g,b::`).
`background` becomes id 0, the classes 1, 2, ... in the order of --classes (default: that of the table), and every other
name of the table 255, which is ignored in training and evaluation. Masks may be RGB or palette files; of a palette file
the colours count, not its indices. A colour that the table does not have is an error.

OUT gets palette PNGs and a labelmap.txt with the new colours; tools/analysis_tools/mask_iou.py finds the names there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', metavar='SRC', type=Path, help='folder of the masks, with sub-folders')
    parser.add_argument('out', metavar='OUT', type=Path, help='folder to write to')
    parser.add_argument('--colours', type=Path, required=True, metavar='FILE', help='the table of colours')
    parser.add_argument('--classes', nargs='+', help='foreground classes, in the order of training')
    parser.add_argument('--workers', type=int, help='processes; 0: in this one (default: one per core, at most 16)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.cores import worker_count
from mmseg_wsss.datasets import voc_palette
from mmseg_wsss.datasets.conversion.colour_masks import ColourTask, convert_colours, ids_of_table
from mmseg_wsss.datasets.image_labels import Problems, check_classes
from mmseg_wsss.datasets.image_labels.names import list_files
from mmseg_wsss.datasets.image_labels.problems import UNREADABLE, DataSetError
from mmseg_wsss.datasets.label_map import LABEL_MAP, foreground, read_label_map, write_label_map
from mmseg_wsss.folder_lock import output_folder
from mmseg_wsss.progress import progress_bar
from mmseg_wsss.worker_pool import run_tasks

SUFFIXES = ('.png', '.bmp', '.tif', '.tiff', '.gif')  # a JPEG changes colours


class ColourError(DataSetError):
    """Wrong masks."""

    subject = 'the masks'


def convert(args: argparse.Namespace) -> tuple[int, Sequence[str]]:
    """Write the masks, and the table last; returns how many there are, and their foreground classes.

    Raises:
        ColourError: everything that is wrong with the masks.
        ValueError: the table or the classes are wrong, or two masks would become one file.
    """
    table = read_label_map(args.colours)
    classes = check_classes(args.classes or foreground(table))
    ids = ids_of_table(table, classes)
    problems = Problems(ColourError)
    files = list_files(args.src, SUFFIXES, exclude=args.out)
    if not files:
        problems.stop(UNREADABLE, f'{args.src}: no mask with the extension {SUFFIXES}; a JPEG changes colours')
    tasks = {(args.out / file).with_suffix('.png'): args.src / file for file in files}
    if len(tasks) < len(files) or args.out.resolve() == args.src.resolve():
        raise ValueError(f'{args.out}: OUT must be another folder than SRC, in which every name is there once')
    results = run_tasks(
        convert_colours,
        (ColourTask(source, target, ids) for target, source in tasks.items()),
        workers=worker_count(args.workers),
    )
    for error in progress_bar(results, text='masks', total=len(tasks)):
        if error is not None:
            problems.add(UNREADABLE, error)
    problems.advise(UNREADABLE, f'add the colours to {args.colours}; hundreds of them are blurred edges: export as PNG')
    problems.raise_if_any()
    write_label_map(args.out / LABEL_MAP, ('background', *classes), voc_palette(len(classes) + 1))
    return len(tasks), classes


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; returns the exit status, 1 when something is wrong."""
    args = parse_args(argv)
    try:
        with output_folder(args.out):
            count, classes = convert(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f'{error}\n{args.out / LABEL_MAP} is not written', file=sys.stderr)
        return 1
    print(f'{args.out}: {count} masks; ids 1..{len(classes)} are {", ".join(classes)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
