"""A drawn stand-in for the lists, tags and masks of PASCAL VOC, and what its subset of animals has to be."""

import json
from pathlib import Path

import numpy as np
from mmseg.datasets import PascalVOCDataset
from PIL import Image

VOC_CLASSES = PascalVOCDataset.METAINFO['classes'][1:]
ANIMALS = ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
LISTS = 'ImageSets/Segmentation'


def draw_voc(root: Path) -> dict[str, tuple[int, list[int]]]:
    """Write 90 tagged images, three of them with masks, the other files empty.

    ``animals_*.txt`` and ``image_labels_animals.json`` are the subset: the images with an animal, in the order of the
    list, and the tags that are animals.

    Returns:
        The name of each list of the subset with its number of images and the images of each class.
    """
    rng = np.random.default_rng(4)
    for folder in ('JPEGImages', 'SegmentationClassAug', LISTS):
        (root / folder).mkdir(parents=True)
    names = [f'2008_{number:06d}' for number in rng.permutation(90)]
    tags = {name: [VOC_CLASSES[i] for i in rng.choice(20, size=rng.integers(1, 5), replace=False)] for name in names}
    animals = {name: [animal for animal in ANIMALS if animal in tags[name]] for name in names}
    (root / 'image_labels.json').write_text(json.dumps(tags))
    (root / 'image_labels_animals.json').write_text(json.dumps({n: found for n, found in animals.items() if found}))
    counts = {}
    for split, of_split in {'train_aug': names[:60], 'train': names[20:40], 'val': names[60:]}.items():
        subset = [name for name in of_split if animals[name]]
        for prefix, listed in (('', of_split), ('animals_', subset)):
            (root / LISTS / f'{prefix}{split}.txt').write_text(''.join(f'{name}\n' for name in listed))
        per_class = [sum(animal in animals[name] for name in subset) for animal in ANIMALS]
        counts[f'animals_{split}'] = len(subset), per_class
    for index, name in enumerate(names):
        (root / 'JPEGImages' / f'{name}.jpg').touch()
        mask = root / 'SegmentationClassAug' / f'{name}.png'
        if index < 3:
            Image.fromarray(rng.choice([*range(21), 255], (30, 40)).astype(np.uint8)).save(mask)
        else:
            mask.touch()
    return counts
