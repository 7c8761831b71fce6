"""Compare a folder of masks with ground-truth masks: ``mask_iou.py DIR GROUND_TRUTH --split FILE``.

DIR is the ``--out`` of tools/make_pseudo_labels.py or of tools/test.py, or any folder of masks of ids with --classes;
GROUND_TRUTH is a folder with masks of the same names. Masks in colours become masks of ids with
tools/dataset_converters/colour_masks.py. Prints IoU, precision and recall per class and writes their means and the IoU
per class as ``DIR/iou.json``.
"""

import argparse
import json
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('folder', type=Path, metavar='DIR', help='folder of the masks')
    parser.add_argument('ground_truth', type=Path, help='folder of the ground-truth masks')
    parser.add_argument('--split', type=Path, metavar='FILE', help='names to compare (default: all masks there)')
    parser.add_argument('--classes', nargs='+', help='names of the ids 1, 2, ... (default: those that DIR knows)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
import torch
from prettytable import PrettyTable

import mmseg_wsss  # noqa: F401  patches come before mmseg
from mmseg_wsss.datasets.conversion.mask_set import MaskSet, open_mask_set
from mmseg_wsss.datasets.image_labels.names import image_name
from mmseg_wsss.datasets.mask_files import read_ids
from mmseg_wsss.evaluation.pixel_counts import PixelCounts, label_counts, nan_mean, rates
from mmseg_wsss.fileio import write_text
from mmseg_wsss.text_files import read_text


def names_of(split: Path | None, ground_truths: dict[str, str]) -> list[str]:
    """Names of the images."""
    if split is not None:
        return [image_name(line) for line in read_text(split).splitlines() if line.strip()]
    return [*ground_truths]


def compare(made: MaskSet, true: MaskSet, names: list[str]) -> PixelCounts:
    """Pixels of all masks together.

    Raises:
        FileNotFoundError: there is nothing to compare, or masks are missing; the first ones are named.
        ValueError: a file is not a mask, two of one name have different sizes, or the ground truth has unknown ids.
    """
    pairs = [[masks.folder / masks.masks.get(name, f'{name}.png') for masks in (made, true)] for name in names]
    missing = [str(path) for pair in pairs for path in pair if not path.is_file()]
    if missing:
        raise FileNotFoundError(f'{len(missing)} masks are missing: {", ".join(missing[:5])}')
    num_classes = len(made.classes)
    total = np.zeros((3, 1, num_classes), np.int64)
    for paths in pairs:
        prediction, ground_truth = (torch.from_numpy(read_ids(path)) for path in paths)
        if prediction.shape != ground_truth.shape:
            raise ValueError(f'{paths[0]} is {tuple(prediction.shape)}, {paths[1]} is {tuple(ground_truth.shape)}')
        try:
            total += np.stack(label_counts(prediction, ground_truth, num_classes))
        except ValueError as error:
            raise ValueError(f'{paths[1]}: {error}') from error
    return PixelCounts(*total)


def main(argv: list[str] | None = None) -> None:
    """Compare, print, write."""
    args = parse_args(argv)
    made = open_mask_set(args.folder, args.classes)
    true = open_mask_set(args.ground_truth, made.classes[1:])
    names, classes = names_of(args.split, true.masks), made.classes
    if not names:
        raise ValueError(f'{args.split}: lists no image')
    per_class = rates(compare(made, true, names))
    table = PrettyTable()
    table.add_column('class', [*classes, 'mean'])
    means = {name: nan_mean(values[0]) for name, values in per_class.items()}
    for name, values in per_class.items():
        table.add_column(name, [f'{value:.2f}' for value in (*values[0], means[name])])
    counted = int(np.isfinite(per_class['IoU']).sum())
    print(f'{table}\n{len(names)} masks, mIoU {means["IoU"]:.2f} over {counted} classes')
    ious = [float(one) if np.isfinite(one) else None for one in per_class['IoU'][0]]
    record = {'masks': len(names), 'ground_truth': str(args.ground_truth), 'mIoU': means.pop('IoU'), **means}
    record['IoU'] = dict(zip(classes, ious, strict=True))
    write_text(args.folder / 'iou.json', json.dumps(record, indent=2) + '\n')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
