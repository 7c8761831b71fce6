"""Finds images, lists, tags and masks in a folder of PASCAL VOC's layout, for ``make demo DATA=...``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmseg.datasets import PascalVOCDataset

from mmseg_wsss.text_files import read_json


class DataError(ValueError):
    """A folder that is not what ``DATA=`` needs; the text says what was looked for."""


class Layout(NamedTuple):
    """Paths are relative to ``root``; ``labels`` is the config of an image-label source."""

    root: Path
    classes: tuple[str, ...]
    labels: dict
    train: str
    val: str
    masks: str


def find(data: str | Path) -> Layout:
    """What to train and to test on.

    A file ``image_labels_NAME.json`` announces a subset: its lists are ``NAME_train_aug.txt`` or ``NAME_train.txt`` and
    ``NAME_val.txt``, its masks are in ``SegmentationClassName`` with ids in the alphabetical order of the tags. Else it
    is the whole data set of 20 classes; tags come from ``image_labels.json``, else ``Annotations``, else the masks.

    Raises:
        DataError: something is missing.
    """
    data = Path(data)
    places = (data, data / 'VOC2012', data / 'VOCdevkit/VOC2012')
    root = next((place.resolve() for place in places if (place / 'JPEGImages').is_dir()), None)
    if root is None:
        raise DataError(f'DATA={data}: there is no folder JPEGImages in {", ".join(map(str, places))}')
    subsets = sorted(root.glob('image_labels_*.json'))
    name = subsets[0].stem.removeprefix('image_labels_') if subsets else ''
    prefix = f'{name}_' if name else ''
    lists = 'ImageSets/Segmentation'
    train = _first(root, [f'{lists}/{prefix}train_aug.txt', f'{lists}/{prefix}train.txt'])
    val = _first(root, [f'{lists}/{prefix}val.txt'])
    if name:
        masks = _first(root, [f'SegmentationClass{name.capitalize()}'])
        tags = read_json(subsets[0])
        classes = tuple(sorted({tag for bears in tags.values() for tag in bears}))
        return Layout(root, classes, {'type': 'TagFile', 'path': subsets[0].name}, train, val, masks)
    masks = _first(root, ['SegmentationClassAug', 'SegmentationClass'])
    classes = tuple(PascalVOCDataset.METAINFO['classes'][1:])
    if (root / 'image_labels.json').is_file():
        labels = {'type': 'TagFile', 'path': 'image_labels.json'}
    elif (root / 'Annotations').is_dir():
        labels = {'type': 'VOCXML', 'root': 'Annotations'}
    else:
        labels = {'type': 'MaskFolder', 'root': masks}
    return Layout(root, classes, labels, train, val, masks)


def use(layout: Layout, cfg: Config, weights: str | None) -> None:
    """Put images, classes and pretrained weights (None keeps the config's) into a config of either method, in place."""
    parts = [('train', layout.train, None), ('val', layout.val, layout.masks), ('test', layout.val, layout.masks)]
    for loader, names, masks in parts:
        dataset = cfg[f'{loader}_dataloader'].dataset
        dataset.update(data_root=str(layout.root), classes=layout.classes, ann_file=names)
        if 'image_labels' in dataset:
            dataset.image_labels = layout.labels
        if masks:
            dataset.data_prefix.seg_map_path = masks
        if 'ground_truth_path' in dataset.data_prefix:
            dataset.data_prefix.ground_truth_path = None
    model, count = cfg.model, len(layout.classes)
    if 'num_classes' in model:
        model.num_classes = count
    else:
        model.decode_head.num_classes = count + 1
    if weights:
        model.backbone.init_cfg.checkpoint = weights


def _first(root: Path, names: list[str]) -> str:
    """The first of several names that exists below ``root``."""
    for name in names:
        if (root / name).exists():
            return name
    raise DataError(f'{root}: there is no {" nor ".join(names)}')
