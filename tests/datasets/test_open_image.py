"""One place opens image files: only photographs' formats, and an error of any kind names the file."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import EpsImagePlugin, Image, features
from tool_module import load_tool

from mmseg_wsss.datasets.conversion.checking import Sample, check_sample
from mmseg_wsss.datasets.conversion.colour_masks import ColourTask, convert_colours
from mmseg_wsss.datasets.conversion.mask_set import MaskSet, masks_of_images
from mmseg_wsss.datasets.conversion.small_copies import longest_side
from mmseg_wsss.datasets.image_files import image_error
from mmseg_wsss.datasets.image_labels.names import IMAGE_SUFFIXES
from mmseg_wsss.datasets.mask_files import is_whole_palette_png, read_mask, write_mask
from mmseg_wsss.datasets.open_image import open_image
from mmseg_wsss.datasets.pseudo_mask_dataset import inspect
from mmseg_wsss.datasets.transforms import read_image

ROOT = Path(__file__).parents[2]
BOMB = (
    'Image size (201 pixels) exceeds limit of 200 pixels, could be decompression bomb DOS attack. If you trust the '
    'file, make it smaller or raise PIL.Image.MAX_IMAGE_PIXELS'
)


def test_no_other_place_opens_images():
    files = [path for folder in ('mmseg_wsss', 'tools', 'demo', 'benchmarks') for path in (ROOT / folder).rglob('*.py')]
    found = [path for path in files if re.search(r'\bImage\.open\(|ImageFile\.Parser', path.read_text())]
    # the latter runs where this package is not installed, on files that its user names
    assert sorted(found) == [ROOT / 'mmseg_wsss/datasets/open_image.py', ROOT / 'tools/deployment/run_onnx.py']


@pytest.mark.parametrize('suffix', IMAGE_SUFFIXES)
def test_every_extension_is_read(tmp_path, suffix):
    if suffix == '.avif' and not features.check('avif'):
        pytest.skip('Pillow before 11.3, or built without AVIF')
    Image.new('RGB', (6, 4), 'red').save(tmp_path / f'a{suffix}', format='JPEG' if suffix == '.jfif' else None)
    with open_image(tmp_path / f'a{suffix}') as image:
        assert image.size == (6, 4)


def test_two_images_in_one_jpeg_as_phones_write_them(tmp_path):
    red = Image.new('RGB', (6, 4), 'red')
    red.save(tmp_path / 'a.jpg', format='MPO', save_all=True, append_images=[red])
    with open_image(tmp_path / 'a.jpg') as image:
        assert (image.format, image.size) == ('MPO', (6, 4))


def test_a_program_named_jpg_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *args: pytest.fail('Ghostscript was started'))
    path = tmp_path / 'a.jpg'
    path.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(run) print\n')
    text = f'(cannot identify image file {str(path)!r}); it may be truncated or not an image'
    for read, kind in ((read_image, 'an image'), (read_mask, 'a mask')):
        with pytest.raises(ValueError, match='cannot be read') as error:
            read(str(path))
        assert str(error.value) == f'{path}: cannot be read as {kind} {text}'
    assert image_error(str(path)) == f'cannot be read as an image {text}'


@pytest.mark.parametrize('kind', ['image', 'mask'])
def test_a_missing_file(tmp_path, kind):
    with (
        pytest.raises(FileNotFoundError, match=rf'^{tmp_path}/a\.png: no such {kind} file$'),
        open_image(tmp_path / 'a.png', kind),
    ):
        pass


@pytest.fixture
def limit(monkeypatch):
    """Pillow warns above 100 pixels and refuses above 200, instead of 89 and 179 million."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)


def image_and_mask(root, width, height):
    """Paths of ``images/a.png`` and ``masks/a.png``, all of whose ids are 1."""
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    image, mask = root / 'images' / 'a.png', root / 'masks' / 'a.png'
    Image.new('RGB', (width, height)).save(image)
    write_mask(mask, np.ones((height, width), np.uint8))
    return str(image), str(mask)


def test_too_many_pixels_are_told_with_the_file(tmp_path, limit):
    image, mask = image_and_mask(tmp_path, 67, 3)  # 201 pixels
    for read, path in ((read_mask, mask), (longest_side, image), (read_image, image)):
        with pytest.raises(ValueError, match='exceeds limit') as error:
            read(path)
        assert str(error.value) == f'{path}: {BOMB}'
    assert not is_whole_palette_png(mask)
    assert image_error(image) == BOMB
    assert check_sample(Sample(image, mask, (0,), range(2), ('background', 'cat'))) == (
        [('image that cannot be read', f'{image}: {BOMB}'), ('mask that cannot be read', f'{mask}: {BOMB}')],
        [],
    )
    assert inspect(image, mask, 1) == [('cannot be read', f'{mask}: {BOMB}')]
    assert convert_colours(ColourTask(Path(mask), tmp_path / 'out.png', {})) == f'{mask}: {BOMB}'


def test_an_image_of_too_many_pixels_beside_a_good_mask(tmp_path, limit):
    image, _ = image_and_mask(tmp_path / 'large', 67, 3)
    _, mask = image_and_mask(tmp_path / 'small', 9, 2)
    assert inspect(image, mask, 1) == [('cannot be read', f'{image}: {BOMB}')]
    masks = MaskSet(Path(mask).parent, ('background', 'cat'), {'a': 'a.png'})
    with pytest.raises(ValueError, match='exceeds limit') as error:
        masks_of_images(masks, Path(image).parent)
    assert error.value.problems == {'cannot be read': [f'{image}: {BOMB}']}
    check = load_tool('pack_voc_submission.py').check_prediction
    assert check(Path(mask), Path(image)) == [('cannot be read', f'{image}: {BOMB}')]


@pytest.mark.parametrize('action', ['default', 'error'])
def test_between_the_warning_and_the_limit_files_are_read(tmp_path, limit, action):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        image, mask = image_and_mask(tmp_path, 100, 2)  # 200 pixels
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert read_mask(mask) == ((100, 2), [1])
        assert read_image(image).shape == (2, 100, 3)
        assert image_error(image) is None
        assert is_whole_palette_png(mask, (100, 2))
        assert check_sample(Sample(image, mask, (0,), range(2), ('background', 'cat'))) == ([], [1])


def test_the_tools_name_the_files(tmp_path, limit, capsys):
    image, mask = image_and_mask(tmp_path, 67, 3)
    labels = load_tool('dataset_converters/image_labels.py')
    assert labels.main([str(Path(mask).parent), str(tmp_path / 'o.json'), '--from', 'masks', '--classes', 'cat']) == 1
    assert f'cannot be read (1):\n  {mask}: {BOMB}\n' in capsys.readouterr().err
    (tmp_path / 'tags.json').write_text(json.dumps({'a': ['cat']}))
    dataset = dict(
        type='ImageTagDataset',
        data_root=str(tmp_path),
        classes=['cat'],
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        image_labels=dict(type='TagFile', path='tags.json'),
        check_images=False,
    )
    check = load_tool('dataset_converters/check.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        problems = check.check_set('test', check.open_set(dataset), 0)['problems']
    assert problems == {
        'image that cannot be read': [f'{image}: {BOMB}'],
        'mask that cannot be read': [f'{mask}: {BOMB}'],
    }
