"""Masks are ids, as large as the upright image, or refused with both names."""

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_wsss.datasets.transforms import LoadImage, LoadMask


def load(mask_path, image_path=None):
    results = {'seg_map_path': str(mask_path)}
    if image_path is not None:
        results = LoadImage()({**results, 'img_path': str(image_path)})
    return LoadMask()(results)


def test_palette_indices_are_kept(tmp_path):
    mask = Image.new('P', (3, 2), 4)
    mask.putpalette([200, 100, 50] * 256)
    mask.putpixel((1, 0), 255)
    mask.save(tmp_path / 'mask.png')
    results = load(tmp_path / 'mask.png')
    assert results['gt_seg_map'].tolist() == [[4, 255, 4], [4, 4, 4]]
    assert results['seg_fields'] == ['gt_seg_map']


def test_mmseg_conventions_are_kept(tmp_path):
    Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).save(tmp_path / 'mask.png')
    results = {'seg_map_path': str(tmp_path / 'mask.png'), 'reduce_zero_label': True, 'seg_fields': []}
    assert LoadMask()(results)['gt_seg_map'].tolist() == [[255, 0, 1]]
    results = {'seg_map_path': str(tmp_path / 'mask.png'), 'label_map': {2: 7}}
    assert TRANSFORMS.build({'type': 'LoadMask'})(results)['gt_seg_map'].tolist() == [[0, 1, 7]]


@pytest.mark.parametrize('shape', [(1, 9), (9, 1), (1, 1)])
def test_thin_masks_keep_two_axes(tmp_path, shape):
    Image.fromarray(np.full(shape, 3, dtype=np.uint8)).save(tmp_path / 'thin.png')
    np.testing.assert_array_equal(load(tmp_path / 'thin.png')['gt_seg_map'], np.full(shape, 3))


def test_image_without_mask_passes():
    assert LoadMask()({'img_path': 'a.jpg'}) == {'img_path': 'a.jpg'}
    assert 'gt_seg_map' not in LoadMask()({'img_path': 'a.jpg', 'seg_map_path': None})


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', 'I;16', '1'])
def test_what_is_no_id_map_is_refused(tmp_path, mode):
    Image.new(mode, (2, 2)).save(tmp_path / 'colours.png')
    with pytest.raises(ValueError, match=rf'colours\.png: a mask of mode {mode}; a palette or 8-bit gray PNG'):
        load(tmp_path / 'colours.png')


def test_size_mismatch_names_both_files(tmp_path):
    Image.new('RGB', (6, 4)).save(tmp_path / 'image.png')
    Image.new('L', (5, 4)).save(tmp_path / 'mask.png')
    message = r'mask .*mask\.png is 5 x 4 pixels but image .*image\.png is 6 x 4: a mask needs one id for each pixel'
    with pytest.raises(ValueError, match=message):
        load(tmp_path / 'mask.png', tmp_path / 'image.png')


def test_mask_belongs_to_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (6, 4)).save(tmp_path / 'image.jpg', exif=exif)
    Image.new('L', (4, 6), 1).save(tmp_path / 'upright.png')
    Image.new('L', (6, 4), 1).save(tmp_path / 'stored.png')
    assert load(tmp_path / 'upright.png', tmp_path / 'image.jpg')['gt_seg_map'].shape == (6, 4)
    with pytest.raises(ValueError, match=r'stored\.png is 6 x 4 .*image\.jpg is 4 x 6: .*EXIF orientation\); rotate'):
        load(tmp_path / 'stored.png', tmp_path / 'image.jpg')


def test_damaged_and_missing_masks_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / 'whole.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:2000])
    with pytest.raises(ValueError, match=r'cut\.png: cannot be read as a mask'):
        load(tmp_path / 'cut.png')
    with pytest.raises(FileNotFoundError, match=r'gone\.png: no such mask file'):
        load(tmp_path / 'gone.png')
