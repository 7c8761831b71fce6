"""Views show the pixels they say they show."""

import numpy as np
import pytest

from mmseg_wsss.datasets.transforms import MultiView

FLIP = {'type': 'RandomFlip', 'prob': 0.5}
CROP = {'type': 'RandomPadCrop', 'crop_size': (50, 50)}


def loaded(image):
    return {'img': image, 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2]}


def test_main_crop_local_view_box_and_mask_show_the_same_pixels(coordinates):
    image = coordinates(40, 70)
    views = MultiView(geometry=[FLIP, CROP], img=[], aligned={'local_view': []})
    flips = set()
    for _ in range(20):
        mask = (image[..., 0] // 2 + image[..., 1]).astype(np.uint8)
        results = views({**loaded(image), 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']})
        flips.add(results['flip'])
        np.testing.assert_array_equal(results['views']['local_view'], results['img'])
        h0, h1, w0, w1 = results['valid_box']
        rows, columns, marker = results['img'][h0:h1, w0:w1].transpose(2, 0, 1).astype(int)
        assert (h1 - h0, w1 - w0) == (40, 50)
        assert (marker == 255).all()
        assert results['img'][..., 2].astype(int).sum() == 255 * 40 * 50  # nothing of the image is outside the box
        np.testing.assert_array_equal(rows, np.arange(40)[:, None].repeat(50, 1))
        step = -1 if results['flip'] else 1
        np.testing.assert_array_equal(columns, columns[:, :1] + step * np.arange(50))
        np.testing.assert_array_equal(results['gt_seg_map'][h0:h1, w0:w1], rows // 2 + columns)
        assert (results['gt_seg_map'] == 255).sum() == 50 * 50 - 40 * 50
    assert flips == {True, False}


def test_photometry_differs_geometry_does_not(coordinates):
    results = MultiView(
        geometry=[FLIP, CROP],
        img=[{'type': 'DINOPhotometry', 'blur_prob': 1.0}],
        aligned={'local_view': [{'type': 'DINOPhotometry', 'blur_prob': 0.5}]},
    )(loaded(coordinates(30, 40) // 2 + 60))
    h0, h1, w0, w1 = results['valid_box']
    main, local = results['img'], results['views']['local_view']
    assert (main != local).any()
    for view in (main, local):
        assert view[h0:h1, w0:w1].max(axis=-1).min() > 0
        assert view.astype(int).sum() == view[h0:h1, w0:w1].astype(int).sum()


def test_every_view_starts_from_the_unchanged_crop(coordinates):
    """Solarisation inverts 128 and more; done twice it would be undone."""
    solarize = {'type': 'DINOPhotometry', 'blur_prob': 0.0, 'solarize_prob': 1.0}
    image = coordinates(50, 50)
    views = MultiView(geometry=[CROP], img=[solarize], aligned={'one': [solarize], 'two': []}, free={'whole': []})
    for name, transform in (('img', views.img), ('one', views.aligned['one'])):
        assert len(transform.transforms) == 1, name
        transform.transforms[0].color = lambda picture: picture  # no random jitter
    results = views(loaded(image))
    inverted = np.where(image < 128, image, 255 - image)
    np.testing.assert_array_equal(results['img'], inverted)
    np.testing.assert_array_equal(results['views']['one'], inverted)
    np.testing.assert_array_equal(results['views']['two'], image)
    np.testing.assert_array_equal(results['views']['whole'], image)


def test_a_derived_view_continues_from_the_finished_crop(coordinates):
    solarize = {'type': 'DINOPhotometry', 'blur_prob': 0.0, 'solarize_prob': 1.0}
    image = coordinates(40, 50)
    views = MultiView(geometry=[CROP], img=[solarize], derived={'same': [], 'twice': [solarize]})
    for transform in (*views.img.transforms, *views.derived['twice'].transforms):
        transform.color = lambda picture: picture  # no random jitter
    results = views(loaded(image))
    h0, h1, w0, w1 = results['valid_box']
    inverted = np.where(image < 128, image, 255 - image)
    np.testing.assert_array_equal(results['img'][h0:h1, w0:w1], inverted)
    np.testing.assert_array_equal(results['views']['same'], results['img'])
    twice = results['views']['twice']
    np.testing.assert_array_equal(twice[h0:h1, w0:w1], np.where(inverted < 128, inverted, 255 - inverted))
    assert twice.astype(int).sum() == twice[h0:h1, w0:w1].astype(int).sum(), 'the box reaches it'


def test_a_name_is_given_to_one_view():
    with pytest.raises(ValueError, match='but one is given twice'):
        MultiView(geometry=[CROP], img=[], aligned={'one': []}, derived={'one': []})
    with pytest.raises(ValueError, match='every view needs a name of its own, but img, two is given twice'):
        MultiView(geometry=[CROP], img=[], aligned={'two': [], 'img': []}, free={'two': [], 'three': []})


def test_global_view_comes_from_the_whole_image(coordinates):
    # The main crop shows 10 x 10 pixels; the second view at least 40 % of the image, and all of it in the end.
    image = coordinates(100, 120)
    crop = {'type': 'mmpretrain.RandomResizedCrop', 'scale': 64, 'crop_ratio_range': (0.4, 1.0), 'backend': 'pillow'}
    views = MultiView(geometry=[{**CROP, 'crop_size': (10, 10)}], img=[], free={'global_view': [crop]})
    seen = np.zeros((100, 120), dtype=bool)
    for _ in range(30):
        results = views(loaded(image))
        view = results['views']['global_view'].astype(int)
        assert view.shape == (64, 64, 3)
        assert (view[..., 2] == 255).all()  # no padding
        (top, left), (bottom, right) = view[0, 0, :2], view[-1, -1, :2]
        assert (bottom - top + 2) * (right - left + 2) >= 0.4 * 100 * 120
        seen[top : bottom + 1, left : right + 1] = True
        assert np.ptp(results['img'][..., 0]) == 9
    assert seen[5:-5, 5:-5].all()


def test_only_configured_views_are_computed(coordinates):
    assert MultiView(geometry=[CROP], img=[])(loaded(coordinates(8, 8)))['views'] == {}
    views = MultiView(geometry=[CROP], img=[], aligned={'local_view': []})(loaded(coordinates(8, 8)))['views']
    assert list(views) == ['local_view']


def test_a_flip_after_the_crop_is_refused():
    with pytest.raises(ValueError, match='RandomPadCrop must be the last transform of geometry'):
        MultiView(geometry=[CROP, FLIP], img=[])
