"""Four tagged images for the tests of ImageTagDataset, and what it makes of them."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_wsss.datasets.image_labels import ImageLabelError

CLASSES = ('cat', 'dog')


def make_images(root):
    """Two formats, one image in a sub-folder, one without tags, with masks and a split list."""
    for i, path in enumerate(('a.jpg', 'b.JPG', 'sub/c.png', 'd.jpg')):
        (root / 'images' / path).parent.mkdir(parents=True, exist_ok=True)
        (root / 'masks' / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (6, 4), (i, i, i)).save(root / 'images' / path)
        mask = np.zeros((4, 6), np.uint8)
        mask[0, :4] = [1, 2, 255, i % 3]
        Image.fromarray(mask).save((root / 'masks' / path).with_suffix('.png'))
    (root / 'tags.json').write_text('{"a": ["cat"],\n"b.jpg": ["dog", "cat"],\n"sub/c": ["dog"],\n"d": []}')
    (root / 'split.txt').write_text('sub/c\n\nb.jpg\nd\n')
    return root


def dataset_of(root, **changes):
    """The data set of the folder."""
    options = {
        'type': 'ImageTagDataset',
        'classes': CLASSES,
        'data_root': str(root),
        'data_prefix': {'img_path': 'images'},
        'image_labels': {'type': 'TagFile', 'path': 'tags.json'},
    }
    return DATASETS.build({**options, **changes})


def content(dataset):
    """Relative path and class indices of every image."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(info['img_path'].split('/images/')[1], info['gt_label'].tolist()) for info in infos]


def error_lines(root, **changes):
    """What the data set says is wrong."""
    with pytest.raises(ImageLabelError) as caught:
        dataset_of(root, **changes)
    return str(caught.value).splitlines()
