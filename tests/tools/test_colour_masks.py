"""tools/dataset_converters/colour_masks.py: colours of people and of annotation tools become ids."""

import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool

TABLE = 'background 0 0 0\ndog 0 0 255\ncat 255 0 0\nvoid 224 224 192\nbird:1,2,3::\n'
COLOURS = np.array([[0, 0, 0], [0, 0, 255], [255, 0, 0], [224, 224, 192], [1, 2, 3]], np.uint8)


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'colours.txt').write_text(TABLE)
    tool = load_tool('dataset_converters/colour_masks.py')
    options = ['--colours', str(tmp_path / 'colours.txt'), '--workers', '0']
    return lambda *more: tool.main([str(tmp_path / 'src'), str(tmp_path / 'out'), *options, *more])


def save(tmp_path, name, ids, **options):
    path = tmp_path / 'src' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(COLOURS[np.array(ids)]).save(path, **options)
    return path


def read(tmp_path, name):
    with Image.open(tmp_path / 'out' / name) as mask:
        return mask.mode, np.array(mask).tolist()


def test_colours_become_ids_in_the_order_of_the_classes(run, tmp_path, capsys):
    save(tmp_path, 'a.png', [[0, 1, 2], [3, 4, 4]])
    save(tmp_path, 'sub/b.bmp', [[2, 2]])
    with Image.open(tmp_path / 'src' / 'a.png') as mask:
        mask.quantize(8).save(tmp_path / 'src' / 'p.png')  # a palette in an order of its own
    assert run('--classes', 'cat', 'dog') == 0
    assert read(tmp_path, 'a.png') == ('P', [[0, 2, 1], [255, 255, 255]])
    assert read(tmp_path, 'sub/b.png') == ('P', [[1, 1]])
    assert read(tmp_path, 'p.png') == read(tmp_path, 'a.png')
    assert (tmp_path / 'out' / 'labelmap.txt').read_text().splitlines()[1:] == [
        'background:0,0,0::',
        'cat:128,0,0::',
        'dog:0,128,0::',
    ]
    assert capsys.readouterr().out == f'{tmp_path}/out: 3 masks; ids 1..2 are cat, dog\n'


def test_the_order_of_the_table(run, tmp_path):
    save(tmp_path, 'a.png', [[0, 1, 2], [3, 4, 4]])
    assert run() == 0
    assert read(tmp_path, 'a.png') == ('P', [[0, 1, 2], [255, 3, 3]])


def test_unknown_colours_are_named_with_file_and_pixels(run, tmp_path, capsys):
    first, second = save(tmp_path, 'a.png', [[0, 1]]), save(tmp_path, 'b.png', [[0, 0]])
    Image.fromarray(np.array([[[9, 9, 9], [0, 0, 0], [9, 9, 9], [7, 8, 9]]], np.uint8)).save(first)
    noise = np.arange(8 * 3, dtype=np.uint8).reshape(1, 8, 3)
    Image.fromarray(noise).save(second)
    assert run() == 1
    err = capsys.readouterr().err.splitlines()
    assert err[:3] == [
        '2 problems with the masks',
        'cannot be read (2):',
        f'  {first}: colours that the table does not have: (9, 9, 9) (2 pixels), (7, 8, 9) (1 pixels)',
    ]
    assert err[3].endswith('(12, 13, 14) (1 pixels) and 3 more')
    assert err[4].startswith(f'  -> add the colours to {tmp_path}/colours.txt; hundreds of them are blurred edges')
    assert err[5] == f'{tmp_path}/out/labelmap.txt is not written'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--classes', 'cat', 'cow'), 'no colour for cow; the table has background, dog, cat, void, bird'),
        (('--classes', 'cat', 'background'), "take 'background' out"),
        ((), 'a JPEG changes colours'),
    ],
)
def test_what_cannot_be(run, tmp_path, capsys, options, message):
    save(tmp_path, 'a.jpg', [[0]])
    assert run(*options) == 1
    assert message in capsys.readouterr().err


def test_names_that_would_become_one_file(run, tmp_path, capsys):
    save(tmp_path, 'a.png', [[0]])
    save(tmp_path, 'a.bmp', [[0]])
    assert run() == 1
    assert 'in which every name is there once' in capsys.readouterr().err
