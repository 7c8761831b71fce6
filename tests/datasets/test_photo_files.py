"""Photos and tags as people have them: names of all kinds, formats that are not read, damaged files."""

import json

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image, features
from tagged_images import content, dataset_of, error_lines, make_images


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def root(tmp_path):
    return make_images(tmp_path)


def test_names_that_repeat_the_image_folder(root):
    """``images/a.jpg`` in the tags and the list is ``a.jpg``, and so with more of the folder's path."""
    (root / 'tags.json').write_text(
        f'{{"images/a.jpg": ["cat"], "{root.name}/images/b": ["dog"], "images/sub/c": ["dog"], "d": []}}'
    )
    assert content(dataset_of(root)) == [('a.jpg', [0]), ('b.JPG', [1]), ('sub/c.png', [1])]
    (root / 'split.txt').write_text('images/a.jpg\nsub/c\n')
    assert content(dataset_of(root, ann_file='split.txt')) == [('a.jpg', [0]), ('sub/c.png', [1])]
    (root / 'images' / 'images').mkdir()
    (root / 'images' / 'd.jpg').rename(root / 'images' / 'images' / 'a.jpg')
    (root / 'tags.json').write_text('{"images/a": [], "a": ["cat"], "b": ["dog"], "sub/c": ["dog"]}')
    assert content(dataset_of(root, untagged='background'))[2] == ('images/a.jpg', [])


def test_an_image_labelled_with_and_without_its_folder(root):
    (root / 'tags.json').write_text('{"images/a.jpg": ["cat"], "a.jpg": ["dog"], "b": [], "sub/c": [], "d": []}')
    assert error_lines(root)[2] == f"  {root}/tags.json: 'a' is labelled already in {root}/tags.json"


def test_file_names_of_macos(root):
    """Names with two characters for an umlaut, in images and masks; the tags and the list have one."""
    for folder, suffix in (('images', 'jpg'), ('masks', 'png')):
        (root / folder / f'd.{suffix}').rename(root / folder / f'Mu\u0308he.{suffix}')
    (root / 'tags.json').write_text('{"a": ["cat"], "b": ["dog"], "sub/c": ["dog"], "M\u00fche.jpg": ["cat"]}')
    (root / 'split.txt').write_text('M\u00fche\n')
    dataset = dataset_of(root, ann_file='split.txt', data_prefix={'img_path': 'images', 'seg_map_path': 'masks'})
    info = dataset.get_data_info(0)
    assert info['img_path'] == f'{root}/images/Mu\u0308he.jpg'
    assert info['seg_map_path'] == f'{root}/masks/Mu\u0308he.png'
    assert len(dataset_of(root)) == 4


def test_photos_in_formats_that_are_not_read(root):
    (root / 'images' / 'IMG_1.HEIC').touch()
    (root / 'images' / 'a.HEIC').touch()  # beside a.jpg, which was made of it
    (root / 'images' / 'raw.dng').touch()
    tags = {'a.HEIC': ['cat'], 'b': [], 'd': [], 'sub/c': [], 'IMG_1.HEIC': ['dog']}
    (root / 'tags.json').write_text(json.dumps(tags))
    assert error_lines(root) == [
        '2 problems with the image-level labels',
        'photo in a format that is not read (2):',
        f'  {root}/images/IMG_1.HEIC',
        f'  {root}/images/raw.dng',
        '  -> convert them to JPEG, with `sips -s format jpeg FILE.heic --out FILE.jpg` (macOS) or '
        '`magick FILE.heic FILE.jpg` (ImageMagick); the names in tags and lists may stay as they are',
    ]
    (root / 'split.txt').write_text('b\nIMG_1\n')
    assert error_lines(root, ann_file='split.txt')[2] == f'  {root}/split.txt:2: {root}/images/IMG_1.HEIC'
    (root / 'split.txt').write_text('a.HEIC\n')
    assert content(dataset_of(root, ann_file='split.txt')) == [('a.jpg', [0])]


@pytest.mark.skipif(not features.check('avif'), reason='Pillow before 11.3, or built without AVIF')
def test_avif(root):
    Image.new('RGB', (6, 4), 'red').save(root / 'images' / 'e.avif')
    (root / 'tags.json').write_text('{"a": ["cat"], "b": [], "d": [], "sub/c": [], "e.avif": ["dog"]}')
    dataset = dataset_of(root, pipeline=[{'type': 'LoadImage'}])
    assert content(dataset) == [('a.jpg', [0]), ('e.avif', [1])]
    assert dataset[1]['img'].shape == (4, 6, 3)


def test_damaged_images_are_told_before_training(root):
    """All at once: an empty file, a JPEG and a WebP cut off, a PNG with a wrong byte, a text; not what is only odd."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    names = {}
    for suffix in ('jpg', 'png', 'webp', 'gif'):
        Image.fromarray(noise).save(root / 'images' / f'good.{suffix}')
        data = (root / 'images' / f'good.{suffix}').read_bytes()
        (root / 'images' / f'good.{suffix}').rename(root / 'images' / f'good-{suffix}.{suffix}')
        (root / 'images' / f'cut-{suffix}.{suffix}').write_bytes(data[: len(data) // 2])
        names |= {f'good-{suffix}': ['cat'], f'cut-{suffix}': ['cat']}
    jpeg = (root / 'images' / 'good-jpg.jpg').read_bytes()
    (root / 'images' / 'trailer.jpg').write_bytes(jpeg + b'written by a camera after the end')
    png = bytearray((root / 'images' / 'good-png.png').read_bytes())
    png[len(png) // 2] ^= 255
    (root / 'images' / 'wrong.png').write_bytes(png)
    (root / 'images' / 'empty.jpg').touch()
    (root / 'images' / 'text.png').write_text('<html>not found</html>')
    for name in ('trailer', 'wrong', 'empty', 'text'):
        names[name] = ['dog']
    (root / 'tags.json').write_text(json.dumps({'a': ['cat'], 'b': ['dog'], 'sub/c': [], 'd': [], **names}))
    lines = error_lines(root)
    assert lines[:2] == ['7 problems with the image-level labels', 'image that cannot be read (7):']
    files = ['cut-gif.gif', 'cut-jpg.jpg', 'cut-png.png', 'cut-webp.webp', 'empty.jpg', 'text.png', 'wrong.png']
    assert [line.split(': ')[0] for line in lines[2:-1]] == [f'  {root}/images/{file}' for file in files]
    assert lines[-1] == '  -> copy or export these files again, or take them out of the tags and lists'
    assert len(dataset_of(root, check_images=False)) == 14
    assert len(dataset_of(root, test_mode=True)) == 16  # an evaluation names the file when it comes to it
