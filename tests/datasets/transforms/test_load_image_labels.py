"""Labels for the samples of any data set, found by the path of the image."""

import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

CLASSES = ('cat', 'dog')


@pytest.fixture
def root(tmp_path):
    """Two images with tags, one of them in a sub-folder, and the mask of that one."""
    for path in ('images/a.jpg', 'images/sub/c.jpg', 'masks/sub/c.png'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[0, 1, 2, 255]], np.uint8)).save(tmp_path / path)
    (tmp_path / 'tags.json').write_text('{"a": ["cat"], "sub/c": []}')
    (tmp_path / 'split.txt').write_text('a\nsub/c\n')
    return tmp_path


def _transform(root, tags):
    (root / 'tags.json').write_text(tags)
    source = {'type': 'TagFile', 'path': str(root / 'tags.json')}
    return TRANSFORMS.build({'type': 'LoadImageLabels', 'source': source, 'classes': CLASSES})


def test_any_dataset_of_mmseg_carries_labels(root):
    source = {'type': 'TagFile', 'path': str(root / 'tags.json')}
    step = {'type': 'LoadImageLabels', 'source': source, 'classes': CLASSES}
    dataset = DATASETS.build(
        {
            'type': 'PascalVOCDataset',
            'data_root': str(root),
            'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'},
            'ann_file': 'split.txt',
            'pipeline': [step],
        }
    )
    (root / 'tags.json').unlink()  # read once, when the pipeline was built
    assert dataset[0]['gt_label'].tolist() == [0]
    assert dataset[0]['gt_score'].tolist() == [1, 0]
    assert dataset[1]['gt_label'].tolist() == []
    assert dataset[1]['gt_score'].tolist() == [0, 0]


def test_load_image_labels_takes_the_longest_name_and_misses_none(root):
    transform = _transform(root, '{"c": ["cat"], "sub/c": ["dog"]}')
    assert transform({'img_path': '/x/sub/c.png'})['gt_label'].tolist() == [1]
    assert transform({'img_path': '/x/y/c.png'})['gt_label'].tolist() == [0]
    with pytest.raises(KeyError, match=r'/x/e\.png has no entry in the image-level labels'):
        transform({'img_path': '/x/e.png'})


def test_load_image_labels_from_masks(root):
    source = {'type': 'MaskFolder', 'root': str(root / 'masks')}
    transform = TRANSFORMS.build({'type': 'LoadImageLabels', 'source': source, 'classes': CLASSES})
    assert transform({'img_path': f'{root}/images/sub/c.jpg'})['gt_score'].tolist() == [1, 1]


@pytest.mark.parametrize(
    ('img_path', 'expected'),
    [
        ('../data/sub/c.jpg', [1]),
        ('../../sub/c.jpg', [1]),
        ('sub/x/../c.jpg', [0]),  # what precedes '..' is no part of the name
        ('./sub//c.jpg', [1]),
        ('C:/data/sub/c.jpg', [1]),
        ('C:\\data\\c.jpg', [0]),
        ('//host/data/sub/c.jpg', [1]),
    ],
)
def test_paths_as_configs_write_them(root, img_path, expected):
    transform = _transform(root, '{"c": ["cat"], "sub/c": ["dog"]}')
    assert transform({'img_path': img_path})['gt_label'].tolist() == expected


@pytest.mark.parametrize('img_path', ['sub/../d.jpg', '../sub', 'sub/c.jpg/..', 'C:/d.jpg', ''])
def test_paths_without_a_label_are_named(root, img_path):
    transform = _transform(root, '{"c": ["cat"], "sub/c": ["dog"], "sub/d": []}')
    with pytest.raises(KeyError, match='has no entry in the image-level labels'):
        transform({'img_path': img_path})
