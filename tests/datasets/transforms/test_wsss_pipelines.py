"""The shipped pipelines, whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset.utils import worker_init_fn
from PIL import Image

BASE = Path(__file__).parents[3] / 'configs/_base_/datasets/wsss_pipelines.py'


def child(tmp_path, text):
    path = tmp_path / 'child.py'
    path.write_text(f"_base_ = '{BASE}'\n{text}")
    return Config.fromfile(path)


def run(pipeline, path, **kwargs):
    return Compose(pipeline)({'img_path': str(path), 'gt_score': np.array([0, 1], dtype=np.float32), **kwargs})


def test_training_views_are_aligned(photo):
    packed = run(Config.fromfile(BASE).train_pipeline, photo)
    inputs, sample = packed['inputs'], packed['data_samples']
    assert {name: tuple(view.shape) for name, view in inputs.items()} == dict.fromkeys(
        ('img', 'global_view', 'local_view'), (3, 448, 448)
    )
    h0, h1, w0, w1 = sample.valid_box
    for name in ('img', 'local_view'):
        view = inputs[name].clone()
        view[:, h0:h1, w0:w1] = 0
        assert (view == 0).all()
    assert inputs['global_view'].float().mean() > 20
    assert sample.gt_label.tolist() == [1]


@pytest.mark.parametrize('size', [(1, 100), (2000, 20), (1, 1), (3, 2)])
def test_thin_images_go_through(tmp_path, size):
    Image.new('RGB', size, (200, 100, 50)).save(tmp_path / 'thin.png')
    config = Config.fromfile(BASE)
    for _ in range(3):
        packed = run(config.train_pipeline, tmp_path / 'thin.png')
        h0, h1, w0, w1 = packed['data_samples'].valid_box
        assert packed['inputs']['local_view'].amax(0).nonzero().shape[0] == (h1 - h0) * (w1 - w0) > 0
    tested = run(config.test_pipeline, tmp_path / 'thin.png')
    np.testing.assert_array_equal(tested['inputs'].flatten(1)[:, 0], [50, 100, 200])


def test_testing_keeps_pixels_and_mask(tmp_path, coordinates):
    image = coordinates(5, 6)
    Image.fromarray(image).save(tmp_path / 'image.png')
    Image.fromarray(image[..., 1]).save(tmp_path / 'mask.png')
    pipeline = Config.fromfile(BASE).test_pipeline
    packed = run(pipeline, tmp_path / 'image.png', seg_map_path=str(tmp_path / 'mask.png'))
    np.testing.assert_array_equal(packed['inputs'].numpy(), image[..., ::-1].transpose(2, 0, 1))
    np.testing.assert_array_equal(packed['data_samples'].gt_sem_seg.data[0].numpy(), image[..., 1])
    assert 'gt_sem_seg' not in run(pipeline, tmp_path / 'image.png')['data_samples']


def test_worker_seed_decides_everything(photo):
    pipeline = Compose(Config.fromfile(BASE).train_pipeline)
    seen = []
    for seed in (7, 7, 8):
        worker_init_fn(worker_id=0, num_workers=1, rank=0, seed=seed)
        seen.append(torch.stack(list(pipeline({'img_path': photo})['inputs'].values())))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


# nothing is left to chance but the place of the image in its crop: its own size, its own colours, no flip
STILL = """
train_pipeline[1]['geometry'][0]['prob'] = 0.0
train_pipeline[1]['geometry'][1]['ratio_range'] = (1.0, 1.0)
train_pipeline[1]['img'] = []
"""
STILL_VIEWS = """
train_pipeline[1].free.global_view[0].update(crop_ratio_range=(1.0, 1.0), aspect_ratio_range=(4 / 3, 4 / 3))
train_pipeline[1].free.global_view[1].prob = 0.0
train_pipeline[1].free.global_view.pop()
train_pipeline[1].aligned.local_view = []
"""


@pytest.fixture
def picture(tmp_path):
    """An image of 60 x 80 pixels, (H, W, 3) in RGB, and its file."""
    image = np.random.default_rng(1).integers(1, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / 'picture.png')
    return image, tmp_path / 'picture.png'


def in_a_crop(image, box, size):
    """``image`` (H, W, 3) at ``box`` of a black crop, (3, size, size) in BGR."""
    h0, h1, w0, w1 = box
    crop = np.zeros((3, size, size), dtype=np.uint8)
    crop[:, h0:h1, w0:w1] = image[..., ::-1].transpose(2, 0, 1)
    return crop


def test_another_crop_size_as_the_header_says(tmp_path, picture):
    config = child(
        tmp_path,
        'train_pipeline = _base_.train_pipeline\n'
        'train_pipeline[1].geometry[-1].crop_size = (224, 224)\n'
        'train_pipeline[1].free.global_view[0].scale = 224\n' + STILL + STILL_VIEWS,
    )
    image, path = picture
    packed = run(config.train_pipeline, path)
    crop = in_a_crop(image, packed['data_samples'].valid_box, 224)
    for name in ('img', 'local_view'):
        np.testing.assert_array_equal(packed['inputs'][name], crop)
    whole = np.asarray(Image.fromarray(image).resize((224, 224), Image.BICUBIC))
    np.testing.assert_array_equal(packed['inputs']['global_view'], whole[..., ::-1].transpose(2, 0, 1))


def test_one_view_as_the_header_says(tmp_path, picture):
    config = child(
        tmp_path,
        'train_pipeline = _base_.train_pipeline\n'
        "train_pipeline[1] = dict(type='MultiView', geometry=_base_.geometry, img=_base_.img_view)\n" + STILL,
    )
    image, path = picture
    packed = run(config.train_pipeline, path)
    np.testing.assert_array_equal(packed['inputs'], in_a_crop(image, packed['data_samples'].valid_box, 448))


def test_fully_supervised_counterpart_as_the_header_says(tmp_path, photo):
    config = child(
        tmp_path,
        "train_pipeline = [dict(type='LoadImage'), dict(type='LoadMask'), *_base_.geometry, *_base_.img_view,"
        " dict(type='PackWSSSInputs')]\n",
    )
    Image.new('L', (80, 60), 1).save(tmp_path / 'mask.png')
    packed = run(config.train_pipeline, photo, seg_map_path=str(tmp_path / 'mask.png'))
    h0, h1, w0, w1 = packed['data_samples'].valid_box
    expected = torch.full((448, 448), 255)
    expected[h0:h1, w0:w1] = 1
    assert torch.equal(packed['data_samples'].gt_sem_seg.data[0], expected)
    assert packed['inputs'].shape == (3, 448, 448)


@pytest.mark.parametrize(('name', 'crop'), [('deit_pipeline', 224), ('retrain_pipeline', 480)])
@pytest.mark.parametrize('size', [(6, 300), (300, 6), (1, 1)])
def test_thin_images_go_through_the_other_trainings(tmp_path, name, crop, size):
    """What is smaller than the crop of the second stage is padded by the data preprocessor."""
    Image.new('RGB', size, (200, 100, 50)).save(tmp_path / 'thin.png')
    Image.new('L', size, 1).save(tmp_path / 'mask.png')
    pipeline = Config.fromfile(BASE.with_name(f'{name}.py'))[name]
    packed = run(pipeline, tmp_path / 'thin.png', seg_map_path=str(tmp_path / 'mask.png'), seg_fields=[])
    assert 1 <= min(packed['inputs'].shape[1:]) <= max(packed['inputs'].shape[1:]) <= crop
