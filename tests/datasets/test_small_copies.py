"""Copies of photos at the size that a network is shown."""

import numpy as np
import pytest
from PIL import Image

from mmseg_wsss.datasets.conversion.small_copies import longest_side, small_copies
from mmseg_wsss.datasets.transforms.load_image import read_image

NAMES = ['a/large.png', 'small.png', 'tall.tif', 'turned.jpg']


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / 'photos'
    (root / 'a').mkdir(parents=True)
    ramp = np.linspace(0, 255, 400, dtype=np.uint8)
    sideways = np.stack([np.broadcast_to(ramp, (200, 400))] * 3, axis=-1)
    Image.fromarray(sideways).save(root / 'a/large.png')
    Image.fromarray(sideways[:60, :100]).save(root / 'small.png')
    Image.fromarray(sideways.transpose(1, 0, 2)).save(root / 'tall.tif')
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    Image.fromarray(sideways).save(root / 'turned.jpg', quality=95, exif=exif)
    return root


def copies(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob('*') if path.is_file())


@pytest.mark.parametrize('workers', [0, 1])
def test_large_photos_become_small_upright_jpegs(photos, tmp_path, workers):
    out = tmp_path / 'copies'
    small_copies(photos, NAMES, out, side=100, workers=workers)
    assert copies(out) == ['a/large.jpg', 'small.png', 'tall.jpg', 'turned.jpg']
    assert (out / 'small.png').read_bytes() == (photos / 'small.png').read_bytes()
    ramp = np.linspace(0, 255, 100)
    for name, wanted in (
        ('a/large.jpg', np.broadcast_to(ramp, (50, 100))),
        ('tall.jpg', np.broadcast_to(ramp[:, None], (100, 50))),
        ('turned.jpg', np.broadcast_to(ramp[:, None], (100, 50))),
    ):
        copy = read_image(out / name)[..., 0].astype(float)
        assert copy.shape == wanted.shape
        assert abs(copy - wanted).max() < 6, name


def test_the_header_knows_the_upright_size(photos):
    assert [longest_side(photos / name) for name in NAMES] == [400, 100, 400, 400]


def test_copies_that_are_there_are_not_made_again(photos, tmp_path):
    out = tmp_path / 'copies'
    small_copies(photos, NAMES[:2], out, side=100, workers=0)
    (out / 'a/large.jpg').write_text('kept')
    small_copies(photos, NAMES, out, side=100, workers=0)
    assert (out / 'a/large.jpg').read_text() == 'kept'
    assert len(copies(out)) == 4


def test_a_photo_that_cannot_be_read_leaves_nothing(photos, tmp_path):
    whole = (photos / 'a/large.png').read_bytes()
    (photos / 'a/large.png').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r'a/large.png: cannot be read as an image'):
        small_copies(photos, NAMES, tmp_path / 'copies', side=100, workers=0)
    assert copies(tmp_path / 'copies') == []
