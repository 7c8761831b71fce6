"""Predictions in Python, against what can be read off the pixels: see ``colour_net``."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from colour_net import CLASSES, expected, make_data, masked_cams
from mmengine.config import Config
from mmseg.apis import inference_model
from PIL import Image

from mmseg_wsss.apis import init_model, predict
from mmseg_wsss.datasets.palette import voc_palette

NAMES = ['a/0', 'a/2', 'a/4', 'b/1', 'b/3', 'b/5']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp('colours'))


@pytest.fixture
def model(data):
    return init_model(data / 'ColourSegmentor.py', data / 'net.pth', device='cpu')


@contextmanager
def counted(model):
    """The sizes of the batches that go through the network."""
    sizes, step = [], model.test_step
    model.test_step = lambda batch: (sizes.append(len(batch['inputs'])), step(batch))[1]
    yield sizes
    del model.test_step


def pixels(data, name):
    return np.array(Image.open(data / 'images' / f'{name}.png'))


def test_a_folder_in_order_with_scores_and_classes(data, model):
    found = list(predict(model, data / 'images'))
    assert [one.path for one in found] == [f'{data}/images/{name}.png' for name in NAMES]
    for one, name in zip(found, NAMES, strict=True):
        assert one.ids.dtype == np.uint8
        assert np.array_equal(one.ids, expected(data, name, 0.5, mask_by_labels=False)), name
        logits = np.concatenate((np.ones_like(pixels(data, name)[..., :1]), pixels(data, name) / 127.5), axis=-1)
        softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        assert np.allclose(one.scores, softmax.transpose(2, 0, 1), atol=1e-6)
        assert one.classes == ('background', *CLASSES)
        assert [list(colour) for colour in one.palette] == voc_palette(4)
        assert one.cams == {}
        assert one.shares() == {
            kind: (one.ids == k).mean() for k, kind in enumerate(one.classes) if (one.ids == k).any()
        }


def test_arrays_files_and_lists_in_batches_of_equal_size(data, model):
    names = ['a/0', 'a/2', 'b/1', 'a/4']
    given = [data / 'images' / 'a' / '0.png', *(pixels(data, name)[..., ::-1] for name in names[1:3])]
    given.append(str(data / 'images' / 'a' / '4.png'))
    with counted(model) as sizes:
        found = list(predict(model, given, batch_size=8))
    assert sizes == [2, 1, 1]  # b/1 is one pixel higher
    assert [one.path for one in found] == [str(given[0]), None, None, given[3]]
    for one, name in zip(found, names, strict=True):
        assert np.array_equal(one.ids, expected(data, name, 0.5, mask_by_labels=False)), name
    with counted(model) as sizes:
        one_by_one = list(predict(model, given))
    assert sizes == [1, 1, 1, 1]
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(found, one_by_one, strict=True))


def test_cams_on_request(data):
    model = init_model(data / 'ColourCAM.py', data / 'net.pth', device='cpu', cams=True)
    (one,) = predict(model, data / 'images' / 'b' / '3.png')
    assert list(one.cams) == ['colour']
    assert np.allclose(one.cams['colour'], masked_cams(data, 'b/3', mask_by_labels=False), atol=1e-6)
    with pytest.raises(ValueError, match='ColourSegmentor has no CAMs'):
        init_model(data / 'ColourSegmentor.py', data / 'net.pth', cams=True)


def test_a_network_of_cams_alone_scores_by_its_threshold(tmp_path):
    from toy_runs import stage1_config

    cfg = stage1_config(tmp_path)
    cfg.test_dataloader = cfg.val_dataloader
    torch.save({'state_dict': weights(cfg), 'meta': {}}, tmp_path / 'net.pth')
    model = init_model(cfg, tmp_path / 'net.pth', device='cpu')
    (one,) = predict(model, tmp_path / 'data/images/0.png')
    assert np.array_equal(one.ids, one.scores.argmax(axis=0))
    assert np.all(one.scores[0] == 0.5)
    assert np.array_equal(one.scores[1:], one.cams['cam'])


def weights(cfg):
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(cfg.model).state_dict()


def test_classes_and_palette_are_those_of_the_checkpoint(data, tmp_path):
    meta = dict(classes=('nothing', 'r', 'g', 'b'), palette=[[9, 9, 9], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    state = torch.load(data / 'net.pth', weights_only=True)['state_dict']
    torch.save({'state_dict': state, 'meta': {'dataset_meta': meta}}, tmp_path / 'own.pth')
    (one,) = predict(init_model(data / 'ColourCAM.py', tmp_path / 'own.pth'), data / 'images/a/0.png')
    assert one.classes == meta['classes']
    assert one.palette == ((9, 9, 9), (1, 0, 0), (0, 1, 0), (0, 0, 1))


def test_without_classes_it_is_said_what_to_add(data):
    cfg = Config.fromfile(data / 'ColourCAM.py')
    del cfg.test_dataloader.dataset.classes
    with pytest.raises(ValueError, match=r'ColourCAM.py: neither the checkpoint .* add classes='):
        init_model(cfg, data / 'net.pth')


def test_the_same_as_mmsegs_own_inference(data, model):
    path = str(data / 'images/b/5.png')
    assert np.array_equal(
        next(predict(model, path)).ids, inference_model(model, path).pred_sem_seg.data[0].numpy().astype(np.uint8)
    )


def test_images_that_cannot_be_read(data, model, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes((data / 'images/a/0.png').read_bytes()[:200])
    given = [data / 'images/a/0.png', broken, data / 'images/a/2.png']
    unreadable = []
    found = list(predict(model, given, batch_size=2, unreadable=unreadable))
    assert [one.path for one in found] == [str(given[0]), str(given[2])]
    assert [(one.path, str(broken) in one.error) for one in unreadable] == [(str(broken), True)]
    with pytest.raises(ValueError, match=r'broken.png: cannot be read as an image'):
        list(predict(model, given))


@pytest.mark.parametrize(
    ('given', 'error', 'message'),
    [
        ('none.jpg', FileNotFoundError, 'none.jpg: no such image or folder'),
        ('empty', ValueError, r'empty: no image in this folder \(.jpg, '),
        (np.zeros((2, 2), np.uint8), ValueError, r'\(H, W, 3\) uint8 BGR, got \(2, 2\) uint8'),
        (np.zeros((2, 2, 3)), ValueError, r'got \(2, 2, 3\) float64'),
    ],
)
def test_what_is_no_image(model, tmp_path, given, error, message):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(error, match=message):
        list(predict(model, tmp_path / given if isinstance(given, str) else given))
