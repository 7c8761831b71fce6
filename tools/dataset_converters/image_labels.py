"""Turn image-level labels of any source into one tag file that people can read, check and fix.

    python tools/dataset_converters/image_labels.py Annotations labels.json --from voc-xml --classes cat dog
    python tools/dataset_converters/image_labels.py instances.json labels.csv --from coco --classes @classes.txt

``@FILE`` reads arguments from a file, one per line. OUT is a .json or a .csv file for TagFile; it is not written if
there is any problem with the labels.
"""

import argparse
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, fromfile_prefix_chars='@'
    )
    parser.add_argument('src', metavar='SRC', help='file or folder with the labels')
    parser.add_argument('out', metavar='OUT', type=Path, help='the .json or .csv to write')
    parser.add_argument(
        '--from',
        dest='source',
        choices=['voc-xml', 'masks', 'folders', 'coco', 'csv', 'json', 'npz'],
        required=True,
        help='what SRC is',
    )
    parser.add_argument('--classes', nargs='+', required=True, help='foreground classes, in the order of training')
    parser.add_argument('--ignore-tags', nargs='+', default=[], help='tags of SRC to drop')
    parser.add_argument('--mask-classes', nargs='+', help='names of the mask ids 1, 2, ... (default: --classes)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.datasets.image_labels import (
    VOCXML,
    ClassFolders,
    COCOAnnotations,
    ImageLabelError,
    ImageLabelSource,
    LabelArrays,
    MaskFolder,
    TagFile,
)
from mmseg_wsss.fileio import unwritable, write_text

SOURCES = {
    'voc-xml': (VOCXML, 'root'),
    'masks': (MaskFolder, 'root'),
    'folders': (ClassFolders, 'root'),
    'coco': (COCOAnnotations, 'path'),
    'csv': (TagFile, 'path'),
    'json': (TagFile, 'path'),
    'npz': (LabelArrays, 'path'),
}


def tag_file_text(labels: dict[str, list[int]], classes: Sequence[str], suffix: str) -> str:
    """The content of a tag file: one line per image, sorted by name, tags in the order of the classes.

    Raises:
        ValueError: a class name holds the ``;`` that separates tags in CSV, or the suffix is unknown.
    """
    rows = [(name, [classes[k] for k in labels[name]]) for name in sorted(labels)]
    if suffix == '.json':
        lines = (
            f'{json.dumps(name, ensure_ascii=False)}: {json.dumps(tags, ensure_ascii=False)}' for name, tags in rows
        )
        return '{\n' + ',\n'.join(lines) + '\n}\n'
    if suffix != '.csv':
        raise ValueError(f'OUT should end in .json or .csv, not {suffix!r}')
    bad = [name for name in classes if ';' in name or name != name.strip()]
    if bad:
        raise ValueError(f'{bad} cannot be written as CSV (";" and outer blanks do not survive): use .json')
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(('file', 'tags'))
    writer.writerows((name, ';'.join(tags)) for name, tags in rows)
    return text.getvalue()


def report(labels: dict[str, list[int]], classes: Sequence[str]) -> str:
    """How many images there are: in all, per class, with several tags and with none."""
    counts = Counter(k for label in labels.values() for k in label)
    several = sum(len(label) > 1 for label in labels.values())
    none = sum(not label for label in labels.values())
    width = max(map(len, classes))
    lines = [f'{len(labels)} images, {several} with two or more tags, {none} without']
    return '\n'.join(lines + [f'  {name:<{width}} {counts[k]}' for k, name in enumerate(classes)])


def build_source(args: argparse.Namespace) -> ImageLabelSource:
    """The source that the command line names."""
    source, place = SOURCES[args.source]
    options = {place: args.src, 'ignore_tags': args.ignore_tags}
    if args.mask_classes:
        if source is not MaskFolder:
            raise ValueError('--mask-classes is for --from masks')
        options['mask_classes'] = args.mask_classes
    return source(**options)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; returns the exit status, 1 when the labels are wrong."""
    args = parse_args(argv)
    if problem := unwritable(args.out, file=True):
        sys.exit(f'error: OUT {problem}')
    try:
        labels = build_source(args).load(args.classes)
        text = tag_file_text(labels, args.classes, args.out.suffix.lower())
        write_text(args.out, text)
    except (ImageLabelError, ValueError, OSError) as error:
        print(f'{error}\n{args.out} is not written', file=sys.stderr)
        return 1
    print(f'{args.out}: {report(labels, args.classes)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
