"""Colour tables of annotation tools."""

import re

import pytest

from mmseg_wsss.datasets import voc_palette
from mmseg_wsss.datasets.label_map import read_label_map, write_label_map


@pytest.mark.parametrize(
    'text',
    [
        '# label:color_rgb:parts:actions\nbackground:0,0,0::\ntraffic light:250,170,30::\ncat:1,2,3:head,tail:runs\n',
        '\ufeffbackground 0 0 0\r\n\r\ntraffic light 250 170 30\r\ncat\t1\t2\t3',
        'background, 0, 0, 0\ntraffic light,250,170,30\n# a comment\ncat: 1, 2, 3\n',
    ],
)
def test_the_tables_of_people_and_of_tools(tmp_path, text):
    (tmp_path / 'labelmap.txt').write_bytes(text.encode())
    assert read_label_map(tmp_path / 'labelmap.txt') == {
        (0, 0, 0): 'background',
        (250, 170, 30): 'traffic light',
        (1, 2, 3): 'cat',
    }


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('cat 1 2 3\ndog 1 2\n', ':2: \'dog 1 2\' should be a name and three numbers 0..255, like "cat 128 0 0"'),
        ('cat 1 2 256', ":1: 'cat 1 2 256' should be a name"),
        ('1 2 3', ":1: '1 2 3' should be a name"),
        (f'cat {"9" * 5000} 0 0', ":1: 'cat 999"),
        (f'cat:0,{"9" * 5000},0::', ":1: 'cat:0,999"),
        ('cat 1 2 1000', ":1: 'cat 1 2 1000' should be a name"),
        ('cat:1,2,1000', ":1: 'cat:1,2,1000' should be a name"),
        ('cat 1 2 3\n\ndog:1,2,3::', ":3: 'dog' has the colour (1, 2, 3) of 'cat'"),
        ('# nothing\n', ': lists no colour'),
    ],
)
def test_lines_that_are_wrong_are_named(tmp_path, text, message):
    path = tmp_path / 'colours.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f'{path}{message}')):
        read_label_map(path)


def test_what_is_written_is_read(tmp_path):
    write_label_map(tmp_path / 'labelmap.txt', ('background', 'cat', 'big dog'), voc_palette(3))
    assert (tmp_path / 'labelmap.txt').read_text() == (
        '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\nbig dog:0,128,0::\n'
    )
    assert [*read_label_map(tmp_path / 'labelmap.txt').values()] == ['background', 'cat', 'big dog']
