"""Make a data set of a few classes out of PASCAL VOC 2012: split lists, tags and masks.

    python tools/dataset_converters/voc_subset.py data/VOCdevkit/VOC2012 --name animals \\
        --classes cat cow dog horse person sheep --labels data/VOCdevkit/VOC2012/image_labels.json

An image of ImageSets/Segmentation/{train_aug,train,val}.txt belongs to the subset if it has a tag among the classes; it
may show other things too. The tool writes SegmentationClassName (0 background, 1.. the classes in the given order, 255
void and every other class), ImageSets/Segmentation/NAME_{train_aug,train,val}.txt and image_labels_NAME.json (the tags
among the classes). Masks come from SegmentationClassAug, or else from SegmentationClass; train_aug needs none.

Lists and tags are written last, if there were no problems. After an interruption the same command continues: correct
masks are kept.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``None`` stands for that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', metavar='VOC2012_ROOT', type=Path, help='the folder that holds JPEGImages')
    parser.add_argument('--name', required=True, help='what the subset is called')
    parser.add_argument('--classes', nargs='+', required=True, help='classes of VOC, in the order of training')
    parser.add_argument('--labels', type=Path, help='tag file (.json or .csv) of all classes (default: Annotations)')
    parser.add_argument('--out', type=Path, help='folder to write to (default: VOC2012_ROOT)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
from image_labels import tag_file_text  # the converter beside this file
from mmseg.datasets import PascalVOCDataset

from mmseg_wsss.datasets import ImageTagDataset, voc_palette
from mmseg_wsss.datasets.image_labels import check_classes
from mmseg_wsss.datasets.mask_files import open_mask, write_mask
from mmseg_wsss.fileio import unwritable, write_text
from mmseg_wsss.folder_lock import output_folder
from mmseg_wsss.progress import progress_bar

VOC_CLASSES = PascalVOCDataset.METAINFO['classes'][1:]
SPLITS = ('train_aug', 'train', 'val')
LISTS = Path('ImageSets', 'Segmentation')
VOID = 255


def check_arguments(name: str, classes: Sequence[str]) -> None:
    """Raise a ValueError for a name that cannot be part of a file name, or a class that VOC does not have."""
    if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_-]*', name) or name.lower() == 'aug':
        raise ValueError(f'--name {name!r}: should be of letters, digits, _ and -, and not "aug", which VOC uses')
    unknown = sorted(set(check_classes(classes)) - set(VOC_CLASSES))
    if unknown:
        raise ValueError(f'--classes: VOC has no {", ".join(unknown)}; it has {", ".join(VOC_CLASSES)}')


def open_split(root: Path, split: str, classes: Sequence[str], labels: Path | None) -> ImageTagDataset:
    """The images of one list that have a tag among the classes.

    Raises:
        ImageLabelError: every listed image without a file, tags or a mask, with the line of the list.
        ValueError: no image has a tag among the classes.
    """
    source = dict(type='VOCXML', root='Annotations') if labels is None else dict(type='TagFile', path=labels.absolute())
    data_prefix = dict(img_path='JPEGImages')
    augmented = (root / 'SegmentationClassAug').is_dir()
    if augmented or split != 'train_aug':
        data_prefix['seg_map_path'] = 'SegmentationClassAug' if augmented else 'SegmentationClass'
    return ImageTagDataset(
        classes=classes,
        data_root=str(root),
        data_prefix=data_prefix,
        ann_file=str(LISTS / f'{split}.txt'),
        image_labels=dict(**source, ignore_tags=[c for c in VOC_CLASSES if c not in classes]),
        check_images=False,  # only their names matter here
    )


def id_table(classes: Sequence[str]) -> np.ndarray:
    """VOC id 0..255 -> id of the subset, int16 (256,); -1 for ids that VOC does not have."""
    table = np.full(256, -1, np.int16)
    table[1 : len(VOC_CLASSES) + 1] = VOID
    table[[0, VOID]] = 0, VOID
    table[[VOC_CLASSES.index(name) + 1 for name in classes]] = np.arange(len(classes)) + 1
    return table


def read_ids(path: Path) -> np.ndarray:
    """The ids (H, W) of a mask; raises what :func:`open_mask` does."""
    with open_mask(path) as mask:
        return np.asarray(mask)


def draw_mask(source: Path, target: Path, table: np.ndarray, palette: Sequence[Sequence[int]]) -> bool:
    """Write one mask with the ids of the subset; returns whether it was needed.

    Raises:
        ValueError: ``source`` cannot be read or has ids that VOC does not have.
    """
    ids = read_ids(source)
    mask = table[ids]
    if (mask < 0).any():
        raise ValueError(f'{source}: has the ids {np.unique(ids[mask < 0]).tolist()}, VOC has 0..20 and 255')
    try:
        if target.exists() and np.array_equal(read_ids(target), mask):
            return False
    except ValueError:
        pass  # not a mask: it is replaced
    write_mask(target, mask, palette)
    return True


def make_subset(root: Path, out: Path, name: str, classes: Sequence[str], labels: Path | None) -> None:
    """Write masks, lists and tags of the subset, as described at the top of this file.

    Raises:
        ImageLabelError, ValueError, OSError: what is wrong with the folder or the arguments.
    """
    check_arguments(name, classes)
    splits = [split for split in SPLITS if (root / LISTS / f'{split}.txt').is_file()]
    if not splits:
        raise ValueError(f'{root / LISTS}: has none of {", ".join(f"{split}.txt" for split in SPLITS)}')
    lists: dict[str, list[str]] = {}
    tags: dict[str, list[int]] = {}
    masks: set[Path] = set()
    for split in splits:
        print(f'{split}.txt: ', end='', flush=True)
        dataset = open_split(root, split, classes, labels)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        lists[split] = [Path(info['img_path']).stem for info in infos]
        tags.update((Path(info['img_path']).stem, info['gt_label'].tolist()) for info in infos)
        masks.update(Path(info['seg_map_path']) for info in infos if 'seg_map_path' in info)

    folder = out / f'SegmentationClass{name[0].upper()}{name[1:]}'
    table = id_table(classes)
    colours = voc_palette(len(VOC_CLASSES) + 1)
    palette = [colours[0], *(colours[VOC_CLASSES.index(c) + 1] for c in classes)]  # a class keeps its colour of VOC
    bar = progress_bar(sorted(masks), text='masks drawn', unit=' masks')
    drawn = sum(draw_mask(path, folder / path.name, table, palette) for path in bar)
    print(f'{folder}: {drawn} masks drawn, {len(masks) - drawn} there already')

    for split, names in lists.items():
        write_text(out / LISTS / f'{name}_{split}.txt', '\n'.join(names) + '\n')
        print(f'{out / LISTS / f"{name}_{split}.txt"}: {len(names)} images')
    for split in sorted(set(SPLITS) - set(splits)):
        print(f'{name}_{split}.txt is not written: there is no {root / LISTS / f"{split}.txt"}')
    write_text(out / f'image_labels_{name}.json', tag_file_text(tags, classes, '.json'))
    print(f'{out / f"image_labels_{name}.json"}: {len(tags)} images')


def main(argv: Sequence[str] | None = None) -> int:
    """Make the subset; returns the exit status, 1 when something is wrong."""
    args = parse_args(argv)
    if problem := unwritable(args.out or args.root):
        sys.exit(f'error: --out {problem}')
    try:
        if not args.root.is_dir():  # the lock would make it
            raise ValueError(f'there is no folder {args.root}')
        with output_folder(args.out or args.root):
            make_subset(args.root, args.out or args.root, args.name, args.classes, args.labels)
    except (ValueError, OSError) as error:  # ImageLabelError is a ValueError
        print(f'\n{error}\nlists and tags of {args.name} are not written', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
