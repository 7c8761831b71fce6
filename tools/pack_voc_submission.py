"""Pack predictions on PASCAL VOC 2012's test images for its evaluation server, after checking every one of them.

    python tools/test.py CONFIG CHECKPOINT --out work_dirs/test_masks --cfg-options ...   (see docs/data.md)
    python tools/pack_voc_submission.py work_dirs/test_masks work_dirs/submission \\
        --list data/VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt --images data/VOCdevkit/VOC2012/JPEGImages

It writes OUT/results/VOC2012/Segmentation/comp6_test_cls/IMAGE.png, the predictions byte for byte, and OUT/results.tar
to upload. Nothing is written if a listed prediction is missing, a file is not listed, or a prediction is not a palette
PNG with VOC's colours, has ids other than 0..20 or, with --images, has another size than its image.
"""

import argparse
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', metavar='PREDICTIONS', type=Path, help='folder that tools/test.py --out wrote')
    parser.add_argument('out', metavar='OUT', type=Path, help='folder to write to')
    parser.add_argument('--list', dest='ann_file', type=Path, required=True, help='ImageSets/Segmentation/test.txt')
    parser.add_argument('--images', type=Path, help='JPEGImages, to check the sizes')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.datasets import voc_palette
from mmseg_wsss.datasets.image_files import find_images, listed_images
from mmseg_wsss.datasets.image_labels import Problems
from mmseg_wsss.datasets.image_labels.names import IMAGE_SUFFIXES, image_name
from mmseg_wsss.datasets.image_labels.problems import UNREADABLE, DataSetError
from mmseg_wsss.datasets.mask_files import misfits, read_mask, upright_size
from mmseg_wsss.datasets.open_image import open_image
from mmseg_wsss.fileio import unwritable, whole_file
from mmseg_wsss.text_files import read_text

FOLDER = Path('results', 'VOC2012', 'Segmentation', 'comp6_test_cls')
IDS = range(21)
EXTRA = 'prediction that the list does not name'
WRONG_FORMAT = 'prediction that is not a palette PNG with the colours of VOC'
_COLOURS = [value for colour in voc_palette(len(IDS)) for value in colour]


class SubmissionError(DataSetError):
    """Wrong predictions."""

    subject = 'the predictions'


def check_prediction(path: Path, image: Path | None) -> list[tuple[str, str]]:
    """Kind and text of all that is wrong with one prediction; its size is compared where its image is given."""
    try:
        content = read_mask(path)
        with open_image(path, 'mask') as prediction:
            kind, palette = f'{prediction.format} of mode {prediction.mode}', prediction.getpalette()
        if image is None:
            size = content.size
        else:
            with open_image(image) as opened:
                size = upright_size(opened)
    except (OSError, ValueError) as error:
        return [(UNREADABLE, str(error))]
    findings = misfits(path, content, image or path, size, IDS)
    if kind != 'PNG of mode P':
        findings.append((WRONG_FORMAT, f'{path}: a {kind}'))
    # A palette may end after the last id that occurs.
    elif palette[: len(_COLOURS)] != _COLOURS[: len(palette)] or len(palette) < 3 * (max(content.ids) + 1):
        findings.append((WRONG_FORMAT, f'{path}: has other colours'))
    return findings


def check_predictions(folder: Path, ann_file: Path, images: Path | None) -> list[Path]:
    """The predictions of a split list in its order.

    Raises:
        SubmissionError: with all problems at once.
    """
    problems = Problems(SubmissionError)
    found = find_images(str(folder), IMAGE_SUFFIXES, problems)  # a .jpg among them is an error, not overlooked
    photos = None if images is None else find_images(str(images), IMAGE_SUFFIXES, problems)
    paths = []
    for relative, where in listed_images(str(ann_file), found, str(folder), problems):
        path = folder / relative
        photo = None
        if photos is not None:
            if image_name(relative) not in photos:
                problems.add(UNREADABLE, f'{where}: {image_name(relative)} is not in {images}')
                continue
            photo = images / photos[image_name(relative)]
        for kind, text in check_prediction(path, photo):
            problems.add(kind, text)
        paths.append(path)
    listed = {line.strip() for line in read_text(ann_file).splitlines()}
    for name in sorted(set(found) - {image_name(line) for line in listed if line}):
        problems.add(EXTRA, str(folder / found[name]))
    problems.raise_if_any()
    return paths


def pack(paths: Sequence[Path], out: Path) -> Path:
    """Copy the predictions into the folders that the server requires, and into a tar file; returns the latter.

    The tar file depends on the predictions alone: equal predictions give equal bytes.

    Raises:
        ValueError: a package already exists.
    """
    if (out / FOLDER.parts[0]).exists():
        raise ValueError(f'{out / FOLDER.parts[0]} already exists: choose another OUT, or remove it first')
    out.mkdir(parents=True, exist_ok=True)
    making = out / f'.results.{os.getpid()}'
    try:
        folder = making / FOLDER
        folder.mkdir(parents=True)
        with whole_file(out / 'results.tar') as temporary, tarfile.open(temporary, 'w') as tar:
            for path in sorted(paths, key=lambda path: path.name):
                data = path.read_bytes()
                (folder / path.name).write_bytes(data)
                member = tarfile.TarInfo((FOLDER / path.name).as_posix())
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        os.replace(making / FOLDER.parts[0], out / FOLDER.parts[0])
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return out / 'results.tar'


def main(argv: Sequence[str] | None = None) -> int:
    """Check and pack; returns the exit status, 1 when something is wrong."""
    args = parse_args(argv)
    if problem := unwritable(args.out):
        sys.exit(f'error: OUT {problem}')
    try:
        paths = check_predictions(args.predictions, args.ann_file, args.images)
        tar = pack(paths, args.out)
    except (ValueError, OSError) as error:  # SubmissionError is a ValueError
        print(f'{error}\nnothing is packed', file=sys.stderr)
        return 1
    print(f'{tar}: {len(paths)} predictions in {FOLDER.as_posix()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
