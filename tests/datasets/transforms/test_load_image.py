"""Every kind of file gives the pixels a person sees, or an error with the file's name."""

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_wsss.datasets.image_files import image_error
from mmseg_wsss.datasets.transforms import LoadImage, read_image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(tmp_path, image, name='image.png', **kwargs):
    path = tmp_path / name
    image.save(path, **kwargs)
    return str(path)


def test_channel_order_and_keys(tmp_path):
    image = Image.new('RGB', (3, 2), RED)
    image.putpixel((2, 0), (1, 2, 3))
    results = TRANSFORMS.build({'type': 'LoadImage'})({'img_path': save(tmp_path, image)})
    assert results['img'].dtype == np.uint8
    assert results['img'].flags.c_contiguous
    assert results['img'][0, 0].tolist() == [0, 0, 255]
    assert results['img'][0, 2].tolist() == [3, 2, 1]
    assert results['img_shape'] == results['ori_shape'] == (2, 3)


def test_gray_bilevel_and_palette(tmp_path):
    assert read_image(save(tmp_path, Image.new('L', (2, 2), 77)))[0, 0].tolist() == [77, 77, 77]
    assert read_image(save(tmp_path, Image.new('1', (2, 2), 1)))[1, 1].tolist() == [255, 255, 255]
    palette = Image.new('P', (2, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert read_image(save(tmp_path, palette))[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize(
    ('mode', 'pixel', 'bgr'),
    [
        ('RGBA', (255, 0, 0, 0), [255, 255, 255]),
        ('RGBA', (200, 0, 100, 51), [224, 204, 244]),
        ('LA', (0, 51), [204] * 3),
    ],
)
def test_alpha_is_blended_over_white(tmp_path, mode, pixel, bgr):
    # alpha 51 = 20 %: 0.2 * 200 + 0.8 * 255 = 244, 0.2 * 0 + 0.8 * 255 = 204, 0.2 * 100 + 204 = 224
    assert read_image(save(tmp_path, Image.new(mode, (2, 2), pixel)))[0, 0].tolist() == bgr


def test_transparent_palette_entry_is_white(tmp_path):
    palette = Image.new('P', (2, 1), 0)
    palette.putpalette([9, 9, 9, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    assert read_image(save(tmp_path, palette, transparency=0))[0].tolist() == [[255, 255, 255], [30, 20, 10]]


def test_cmyk_jpeg(tmp_path):
    # cyan and yellow ink, no magenta, no black: green
    path = save(tmp_path, Image.new('CMYK', (16, 16), (255, 0, 255, 0)), 'inks.jpg', quality=100)
    np.testing.assert_allclose(read_image(path)[8, 8], [0, 255, 0], atol=3)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 128, 129, 65280, 65535]], dtype=np.uint16)
    path = save(tmp_path, Image.fromarray(values), f'deep.{suffix}')
    # v / 257 to the nearest: 128 / 257 = 0.498, 129 / 257 = 0.502, 65280 / 257 = 254.008
    assert read_image(path)[0, :, 0].tolist() == [0, 0, 1, 254, 255]


def test_values_without_a_known_white_are_refused(tmp_path):
    deep = save(tmp_path, Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), 'deep.tif')
    with pytest.raises(ValueError, match=r'deep\.tif: 32-bit pixel values 0\.\.70000'):
        read_image(deep)
    floating = save(tmp_path, Image.new('F', (2, 2), 0.5), 'float.tif')
    with pytest.raises(ValueError, match=r'float\.tif: floating-point'):
        read_image(floating)


@pytest.mark.parametrize(
    ('orientation', 'turned'),
    [
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (8, lambda x: np.rot90(x)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, coordinates, orientation, turned):
    stored = coordinates(4, 7)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, Image.fromarray(np.ascontiguousarray(stored[..., ::-1])), exif=exif)
    results = LoadImage()({'img_path': path})
    np.testing.assert_array_equal(results['img'], turned(stored))
    assert results['ori_shape'] == turned(stored).shape[:2]


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_truncated_file_is_refused_by_name(tmp_path, photo, suffix):
    whole = tmp_path / f'whole.{suffix}'
    Image.open(photo).save(whole)
    cut = tmp_path / f'cut.{suffix}'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf'cut\.{suffix}: cannot be read as an image'):
        read_image(cut)


def test_what_is_no_image_is_refused_by_name(tmp_path):
    text = tmp_path / 'notes.jpg'
    text.write_text('not a picture')
    with pytest.raises(ValueError, match=r'notes\.jpg: cannot be read as an image'):
        read_image(text)
    (tmp_path / 'empty.png').touch()
    with pytest.raises(ValueError, match=r'empty\.png: cannot be read as an image'):
        read_image(tmp_path / 'empty.png')
    with pytest.raises(FileNotFoundError, match=r'gone\.png: no such image file'):
        read_image(tmp_path / 'gone.png')


def test_decompression_bomb_is_refused_by_name(tmp_path, monkeypatch):
    path = save(tmp_path, Image.new('L', (20, 20)), 'bomb.png')
    monkeypatch.setattr(
        Image, 'MAX_IMAGE_PIXELS', 100
    )  # Pillow warns above the limit and refuses above twice the limit
    with pytest.raises(ValueError, match=r'bomb\.png: .*exceeds limit of 200 pixels.*MAX_IMAGE_PIXELS'):
        read_image(path)


@pytest.mark.parametrize('size', [(5000, 1), (1, 5000), (101, 1), (2, 201)])
def test_a_strip_is_refused(tmp_path, size):
    Image.new('RGB', size).save(tmp_path / 'strip.png')
    text = f'{size[0]} x {size[1]} pixels, one side more than 100 times the other: cut it up, or leave it out'
    with pytest.raises(ValueError, match=rf'strip\.png: {text}'):
        read_image(tmp_path / 'strip.png')
    assert image_error(str(tmp_path / 'strip.png')) == text


def test_a_panorama_is_read(tmp_path):
    Image.new('RGB', (200, 2)).save(tmp_path / 'panorama.png')
    assert read_image(tmp_path / 'panorama.png').shape == (2, 200, 3)
    assert image_error(str(tmp_path / 'panorama.png')) is None
