"""Which images are labelled and from where: split lists, pipelines without masks, names, damaged files."""

import json
import os

import numpy as np
import pytest
from colour_net import make_data
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_wsss.pseudo_labels import ImageList, Unreadable, build_dataset
from mmseg_wsss.pseudo_labels.images import without_masks


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


@pytest.fixture
def config(data):
    init_default_scope('mmseg')
    return Config.fromfile(data / 'ColourCAM.py').test_dataloader.dataset


def names(dataset):
    return [name.as_posix() for name in ImageList(dataset, 'out').names]


def test_split_lists_below_the_data_and_elsewhere(config, data, tmp_path, monkeypatch):
    assert names(build_dataset(config)) == ['b/3', 'a/4', 'b/5']
    assert names(build_dataset(config, split='train.txt')) == ['a/0', 'b/1', 'a/2']
    (tmp_path / 'own.txt').write_text('b/5\n')
    assert names(build_dataset(config, split=str(tmp_path / 'own.txt'))) == ['b/5']
    monkeypatch.chdir(tmp_path)
    assert names(build_dataset(config, split='own.txt')) == ['b/5']
    with pytest.raises(ValueError, match=r'absent\.txt: no such split list'):
        build_dataset(config, split='absent.txt')
    assert config.ann_file == 'val.txt', 'the config stays as it is'


def test_masks_are_loaded_only_for_a_sweep(config):
    assert 'gt_sem_seg' not in build_dataset(config)[0]['data_samples']
    assert build_dataset(config, masks=True)[0]['data_samples'].gt_sem_seg.shape == (25, 24)
    with pytest.raises(ValueError, match=r'b/1'):
        build_dataset(config, split='train.txt', masks=True)  # these have none
    config.data_prefix = {'img_path': 'images'}
    with pytest.raises(ValueError, match=r'a sweep needs masks: set data_prefix\.seg_map_path'):
        build_dataset(config, masks=True)


def test_wrapped_data_sets_take_no_split(config):
    with pytest.raises(ValueError, match='ConcatDataset wraps other data sets and has no ann_file'):
        build_dataset({'type': 'ConcatDataset', 'datasets': [config]}, split='train.txt')


def test_pipelines_without_masks():
    image, pack = {'type': 'LoadImage'}, {'type': 'PackSegInputs'}
    plain = [image, {'type': 'LoadMask'}, {'type': 'mmseg.LoadAnnotations', 'reduce_zero_label': True}, pack]
    assert without_masks(plain) == [image, pack]
    flips = [{'type': 'RandomFlip', 'prob': 0.0}, {'type': 'RandomFlip', 'prob': 1.0}]
    several = {'type': 'TestTimeAug', 'transforms': [flips, [{'type': 'LoadAnnotations'}], [pack]]}
    assert without_masks([image, several]) == [image, {'type': 'TestTimeAug', 'transforms': [flips, [pack]]}]


def test_two_images_of_one_name_are_refused(config):
    dataset = build_dataset(config)
    paths = ['x/images/1.jpg', 'x/images/1.png']
    dataset.data_prefix['img_path'] = 'x/images'
    dataset.get_data_info = lambda index: {'img_path': paths[index]}
    dataset.__class__ = type('Two', (type(dataset),), {'__len__': lambda self: 2})
    with pytest.raises(ValueError, match=r'x/images/1\.png and x/images/1\.jpg would both be written to 1\.png'):
        ImageList(dataset, 'out')


def test_hash_of_names_and_tags(config, data):
    def fingerprint(tags):
        return ImageList(build_dataset(config), 'out').fingerprint(tags=tags)

    masked, free = fingerprint(True), fingerprint(False)
    assert masked['count'] == free['count'] == 3
    tags = json.loads((data / 'tags.json').read_text())
    (data / 'tags.json').write_text(json.dumps({**tags, 'a/4.png': ['blue']}))
    assert fingerprint(True) != masked
    assert fingerprint(False) == free
    (data / 'val.txt').write_text('a/4\nb/3\n')
    assert fingerprint(False) != free


def test_damaged_images_come_as_what_is_wrong_and_other_errors_as_errors(config, data):
    images = ImageList(build_dataset(config), 'out')
    path = data / 'images/b/3.png'
    path.write_bytes(path.read_bytes()[:100])
    loaded = dict(images.load([1, 0]))
    assert list(loaded) == [1, 0]
    assert loaded[1]['inputs'].shape == (3, 24, 24)
    assert isinstance(loaded[0], Unreadable)
    assert loaded[0].path == str(path)
    os.unlink(path)
    assert 'no such image file' in images[0][1].error
    images.dataset.pipeline.transforms[1] = np.linalg.inv
    with pytest.raises(np.linalg.LinAlgError):
        images[1]
