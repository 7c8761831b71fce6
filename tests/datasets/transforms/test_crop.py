"""Crops, padding, boxes and masks refer to the same pixels."""

import cv2
import numpy as np
import pytest
import torch
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_wsss.datasets.transforms import RandomMixedCrop, RandomPadCrop, RandomScale, ResizeToFill, ResizeToFit


def mask_of(image):
    """An id for each pixel that is a function of its coordinates."""
    return ((7 * image[..., 0].astype(int) + 3 * image[..., 1]) % 200).astype(np.uint8)


@pytest.mark.parametrize('shape', [(40, 60), (60, 40), (30, 30), (70, 90), (50, 50), (1, 80), (80, 1), (1, 1)])
def test_box_mask_and_padding(coordinates, shape):
    image = coordinates(*shape)
    crop = RandomPadCrop(crop_size=(50, 48))
    for _ in range(20):
        results = crop({'img': image, 'gt_seg_map': mask_of(image), 'seg_fields': ['gt_seg_map']})
        h0, h1, w0, w1 = results['valid_box']
        assert (h1 - h0, w1 - w0) == (min(50, shape[0]), min(48, shape[1]))
        shown = results['img'][h0:h1, w0:w1]
        top, left, _ = shown[0, 0]
        np.testing.assert_array_equal(shown, image[top : top + h1 - h0, left : left + w1 - w0])
        np.testing.assert_array_equal(results['gt_seg_map'][h0:h1, w0:w1], mask_of(shown))
        outside = np.ones((50, 48), dtype=bool)
        outside[h0:h1, w0:w1] = False
        assert (results['img'][outside] == 0).all()
        assert (results['gt_seg_map'][outside] == 255).all()
        assert results['img_shape'] == results['img'].shape[:2] == (50, 48)


def test_every_position_is_reached(coordinates):
    tall, small = coordinates(5, 2), coordinates(2, 4)
    crop = RandomPadCrop(crop_size=(3, 4))
    sources = {int(crop({'img': tall})['img'].max(axis=(0, 1))[0]) - 2 for _ in range(60)}
    assert sources == {0, 1, 2}
    boxes = {crop({'img': small})['valid_box'] for _ in range(60)}
    assert boxes == {(0, 2, 0, 4), (1, 3, 0, 4)}
    boxes = {crop({'img': tall})['valid_box'] for _ in range(60)}
    assert boxes == {(0, 3, 0, 2), (0, 3, 1, 3), (0, 3, 2, 4)}


def test_crop_without_mask_adds_none(coordinates):
    assert 'gt_seg_map' not in RandomPadCrop(crop_size=(4, 4))({'img': coordinates(3, 3)})


def test_same_seed_same_crop(coordinates):
    boxes = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        crop = RandomPadCrop(crop_size=(90, 90))
        boxes.append([crop({'img': coordinates(30, 30)})['valid_box'] for _ in range(5)])
    assert boxes[0] == boxes[1]
    assert boxes[0] != boxes[2]


@pytest.mark.parametrize('size', [(0, 4), (4,), (4, -1)])
def test_wrong_crop_size(size):
    with pytest.raises(ValueError, match='crop_size must be'):
        RandomPadCrop(crop_size=size)


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [
        ((375, 500), (75, 100)),
        ((500, 375), (100, 75)),
        ((30, 40), (75, 100)),
        ((1, 1000), (1, 100)),
        ((999, 1), (100, 1)),
    ],
)
def test_resize_keeps_the_ratio_and_every_side(shape, expected):
    results = ResizeToFit(scale=(100, 100))({'img': np.full((*shape, 3), 9, dtype=np.uint8)})
    np.testing.assert_array_equal(results['img'], np.full((*expected, 3), 9))
    assert results['img_shape'] == expected
    np.testing.assert_allclose(results['scale_factor'], (expected[1] / shape[1], expected[0] / shape[0]))


@pytest.mark.parametrize('scale', [(100, 40), (40, 100)])
@pytest.mark.parametrize(
    ('shape', 'expected'),
    [((50, 200), (25, 100)), ((200, 50), (100, 25)), ((60, 90), (40, 60)), ((90, 60), (60, 40)), ((20, 20), (40, 40))],
)
def test_the_longer_and_the_shorter_side_both_have_a_limit(scale, shape, expected):
    """By hand: the smaller of 100 / longer side and 40 / shorter side is the factor."""
    assert ResizeToFit(scale=scale)({'img': np.zeros((*shape, 3), dtype=np.uint8)})['img_shape'] == expected


def test_resize_averages_when_it_shrinks():
    # stripes one pixel wide become gray; a filter without averaging would keep some of them
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    inner = ResizeToFit(scale=(8, 8))({'img': stripes})['img'][:, 1:-1]
    np.testing.assert_allclose(inner, 100, atol=4)


def test_flip_scale_and_crop_keep_image_and_mask_together():
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[10:40, 5:50] = 200
    mask = (image[..., 0] > 0).astype(np.uint8)
    pipeline = [
        TRANSFORMS.build({'type': 'RandomFlip', 'prob': 0.5}),
        TRANSFORMS.build(
            {'type': 'RandomResize', 'scale': (80, 80), 'ratio_range': (0.5, 2.0), 'resize_type': 'ResizeToFit'}
        ),
        RandomPadCrop(crop_size=(64, 64)),
    ]
    flips = set()
    for _ in range(20):
        results = {'img': image, 'img_shape': (60, 80), 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']}
        for transform in pipeline:
            results = transform(results)
        flips.add(results['flip'])
        bright, dark = results['img'][..., 0] > 140, results['img'][..., 0] < 60
        inside = results['gt_seg_map'] != 255
        assert (results['gt_seg_map'][bright] == 1).all()
        assert (results['gt_seg_map'][dark & inside] == 0).all()
        assert (bright | dark).mean() > 0.9
        h0, h1, w0, w1 = results['valid_box']
        assert inside.sum() == (h1 - h0) * (w1 - w0) == inside[h0:h1, w0:w1].sum()
    assert flips == {True, False}


@pytest.mark.parametrize('ratio', [0.3, 0.75, 1.0])
@pytest.mark.parametrize('shape', [(60, 90), (20, 70), (12, 15)], ids=str)
def test_mixed_crops_are_those_of_mmseg(coordinates, shape, ratio):
    image = coordinates(*shape)
    # a few ids in large areas, most of it ignored or of one class
    mask = np.array([[255, 3, 3], [3, 3, 0], [255, 0, 7]], dtype=np.uint8)
    mask = mask.repeat(shape[0] // 3, axis=0).repeat(shape[1] // 3, axis=1)
    settings = dict(crop_size=(16, 20), cat_max_ratio=ratio)
    seen = []
    for crop in (RandomCrop(**settings), RandomMixedCrop(**settings)):
        np.random.seed(0)
        results = [crop({'img': image, 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']}) for _ in range(40)]
        seen.append([(result['img'], result['gt_seg_map']) for result in results])
    for expected, found in zip(*seen, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_what_is_a_mixed_crop():
    crop = RandomMixedCrop(crop_size=(4, 4), cat_max_ratio=0.75)
    two = np.array([[0, 0, 0, 5], [255, 255, 0, 5]], dtype=np.uint8)  # 4 of 6 labelled pixels
    assert crop._is_mixed(two)
    two[1, 3] = 0  # 5 of 6
    assert not crop._is_mixed(two)
    assert not crop._is_mixed(np.full((2, 2), 5, dtype=np.uint8))
    assert not crop._is_mixed(np.full((2, 2), 255, dtype=np.uint8))


def test_random_scale_is_relative_to_the_image_itself(coordinates):
    """Published: PIL's bilinear filter to int(factor * side); ids by the nearest pixel."""
    image = coordinates(31, 47)
    mask = mask_of(image)
    sizes = set()
    for seed in range(40):
        np.random.seed(seed)
        factor = np.random.uniform(0.5, 2.0)
        np.random.seed(seed)
        results = {'img': image, 'img_shape': image.shape[:2], 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']}
        results = RandomScale(ratio_range=(0.5, 2.0))(results)
        size = (int(47 * factor), int(31 * factor))
        expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(results['img'], expected)
        assert results['gt_seg_map'].shape == results['img_shape'] == size[::-1]
        assert set(np.unique(results['gt_seg_map'])) <= set(np.unique(mask))
        sizes.add(size)
    assert min(sizes)[0] < 30
    assert max(sizes)[0] > 80


def test_random_scale_leaves_a_pixel(coordinates):
    results = RandomScale(ratio_range=(0.01, 0.01))({'img': coordinates(3, 9), 'img_shape': (3, 9)})
    assert results['img'].shape == (1, 1, 3)


def test_an_image_below_the_window_is_enlarged_without_rounding(coordinates):
    """First to 26 x 35 pixels in 8 bits, then to 48 x floor(35 / 26 * 48) = 64."""
    results = dict(img=coordinates(75, 100), img_shape=(75, 100))
    resized = ResizeToFill(scale=(208, 26), window=48)(results)
    assert resized['img'].shape == (48, 64, 3)
    assert resized['img'].dtype == np.float32
    assert resized['img_shape'] == (48, 64)
    assert resized['scale_factor'] == (64 / 100, 48 / 75)
    small = TRANSFORMS.build(dict(type='Resize', scale=(208, 26), keep_ratio=True))(dict(img=coordinates(75, 100)))
    assert small['img'].shape == (26, 35, 3)
    pixels = torch.from_numpy(small['img']).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(pixels, (48, 64), mode='bilinear', align_corners=False)[0]
    np.testing.assert_allclose(resized['img'].transpose(2, 0, 1), expected, atol=1e-3)


@pytest.mark.parametrize('shape', [(60, 40), (40, 40), (48, 300)])
def test_an_image_as_large_as_the_window_is_resized_once(coordinates, shape):
    step = ResizeToFill(scale=(416, 52), window=48)
    once = TRANSFORMS.build(dict(type='Resize', scale=(416, 52), keep_ratio=True))
    found, expected = (each(dict(img=coordinates(*shape), img_shape=shape)) for each in (step, once))
    assert found['img'].dtype == np.uint8
    np.testing.assert_array_equal(found['img'], expected['img'])
    assert found['img_shape'] == expected['img_shape']


@pytest.mark.parametrize('shape', [(3, 100), (100, 3)])
def test_a_thin_image_is_enlarged_where_the_longer_side_was_the_limit(coordinates, shape):
    found = ResizeToFill(scale=(416, 52), window=48)(dict(img=coordinates(*shape), img_shape=shape))['img']
    assert min(found.shape[:2]) == 48
    assert max(found.shape[:2]) == int(416 / 12 * 48)  # 3 x 100 became 12 x 416


def test_histograms_of_opencv_4_and_5(monkeypatch):
    """The first are columns (256, 1), the others (256,)."""
    crop, histogram = RandomMixedCrop(crop_size=(4, 4), cat_max_ratio=0.75), cv2.calcHist
    mask = np.array([[1, 1, 2, 255]], np.uint8)
    for shape in ((256, 1), (256,)):
        monkeypatch.setattr(cv2, 'calcHist', lambda *args, to=shape: histogram(*args).reshape(to))
        assert crop._is_mixed(mask)
        assert not crop._is_mixed(mask[:, :2])
