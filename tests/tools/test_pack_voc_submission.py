"""The package for VOC's test server: its content byte for byte, and every mistake that is refused."""

import tarfile

import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.datasets import voc_palette
from mmseg_wsss.datasets.mask_files import write_mask

NAMES = ['2008_000006', '2008_000011', '2008_000012']
FOLDER = 'results/VOC2012/Segmentation/comp6_test_cls'


@pytest.fixture(scope='module')
def tool():
    return load_tool('pack_voc_submission.py')


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'images').mkdir()
    for k, name in enumerate(NAMES):
        Image.new('RGB', (4, 3)).save(tmp_path / 'images' / f'{name}.jpg')
        write_mask(tmp_path / 'masks' / f'{name}.png', np.array([[0, 20, k, 7]] * 3), voc_palette(21))
    (tmp_path / 'test.txt').write_text('\n'.join([NAMES[2], *NAMES[:2]]) + '\n')
    return tmp_path


def run(tool, root, *options, out='out'):
    return tool.main([str(root / 'masks'), str(root / out), '--list', str(root / 'test.txt'), *options])


def test_folder_and_tar(tool, root, capsys):
    assert run(tool, root, '--images', str(root / 'images')) == 0
    expected = {f'{FOLDER}/{name}.png': (root / 'masks' / f'{name}.png').read_bytes() for name in NAMES}
    with tarfile.open(root / 'out' / 'results.tar') as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == expected
        assert [member.name for member in tar] == sorted(expected)
        assert {member.isfile() for member in tar} == {True}
    files = [path for path in (root / 'out').rglob('*') if path.is_file() and path.suffix != '.tar']
    assert {path.relative_to(root / 'out').as_posix(): path.read_bytes() for path in files} == expected
    assert not list((root / 'out').glob('.*'))
    assert capsys.readouterr().out == f'{root}/out/results.tar: 3 predictions in {FOLDER}\n'
    assert run(tool, root, out='again') == 0
    assert (root / 'again' / 'results.tar').read_bytes() == (root / 'out' / 'results.tar').read_bytes()


def failure(tool, root, capsys, *options):
    assert run(tool, root, *options) == 1
    assert not (root / 'out').exists()
    error = capsys.readouterr().err
    assert error.endswith('nothing is packed\n')
    return error.replace(str(root), 'ROOT').splitlines()[:-1]


def test_everything_wrong_at_once(tool, root, capsys):
    masks = root / 'masks'
    (masks / f'{NAMES[0]}.png').unlink()
    write_mask(masks / f'{NAMES[1]}.png', np.array([[0, 21, 255]]), voc_palette(21))
    write_mask(masks / f'{NAMES[2]}.png', np.zeros((3, 4)), [[0, 0, 0], [0, 0, 1]])
    write_mask(masks / 'more.png', np.zeros((3, 4)))
    lines = failure(tool, root, capsys, '--images', str(root / 'images'))
    assert lines == [
        '5 problems with the predictions',
        'prediction that is not a palette PNG with the colours of VOC (1):',
        f'  ROOT/masks/{NAMES[2]}.png: has other colours',
        'listed image that is missing (1):',
        f"  ROOT/test.txt:2: '{NAMES[0]}' is not in ROOT/masks",
        'mask of another size than its image (1):',
        f'  ROOT/masks/{NAMES[1]}.png is 3x1, ROOT/images/{NAMES[1]}.jpg 4x3',
        'mask with ids that no class has (1):',
        f'  ROOT/masks/{NAMES[1]}.png holds [21, 255]; there are 20 classes (ids 0..20)',
        'prediction that the list does not name (1):',
        '  ROOT/masks/more.png',
    ]


def test_other_files_than_palette_pngs(tool, root, capsys):
    first, second, third = (root / 'masks' / f'{name}.png' for name in NAMES)
    Image.new('RGB', (4, 3)).save(first)
    Image.new('L', (4, 3)).save(second)
    third.write_bytes(third.read_bytes()[:60])
    text = '\n'.join(failure(tool, root, capsys))
    assert 'masks/2008_000006.png: a mask of mode RGB' in text
    assert 'masks/2008_000011.png: a PNG of mode L' in text
    assert 'masks/2008_000012.png: ' in text


def test_a_palette_that_ends_after_the_last_id(tool, root):
    image = Image.fromarray(np.array([[0, 2, 1, 2]] * 3, np.uint8))
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(root / 'masks' / f'{NAMES[0]}.png')
    assert run(tool, root) == 0


def test_lists_folders_and_packages(tool, root, capsys):
    (root / 'images' / f'{NAMES[1]}.jpg').unlink()
    assert failure(tool, root, capsys, '--images', str(root / 'images'))[-1] == (
        f'  ROOT/test.txt:3: {NAMES[1]} is not in ROOT/images'
    )
    assert run(tool, root) == 0
    capsys.readouterr()
    before = (root / 'out' / 'results.tar').read_bytes()
    write_mask(root / 'masks' / f'{NAMES[0]}.png', np.ones((3, 4)), voc_palette(21))
    assert run(tool, root) == 1
    assert 'results already exists: choose another OUT' in capsys.readouterr().err
    assert (root / 'out' / 'results.tar').read_bytes() == before
    (root / 'test.txt').unlink()
    assert run(tool, root, out='new') == 1
    assert 'test.txt: no such split list' in capsys.readouterr().err
