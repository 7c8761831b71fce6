"""What people write by hand: every mistake in a tag file is named, image names stay in their folder."""

import json
import pickle

import pytest

from mmseg_wsss.datasets.image_labels import ImageLabelError, TagFile
from mmseg_wsss.datasets.image_labels.names import image_name, list_files

CLASSES = ('cat', 'dog', 'traffic light')


def _error(source):
    with pytest.raises(ImageLabelError) as caught:
        source.load(CLASSES)
    return str(caught.value)


def test_tag_json_reports_all_at_once(tmp_path):
    path = tmp_path / 'tags.json'
    path.write_text(
        '{\n "a": ["catt"],\n "b": ["cat dog"], "\\u0061": ["dog"],\n "../x": ["dog"],\n "c": "dog",\n'
        ' "d": ["background"],\n\n "/e.jpg": [],\n "a.jpg": ["bus"]}'
    )
    assert _error(TagFile(path=path)).splitlines() == [
        '9 problems with the image-level labels',
        'tag that is not a class (4):',
        f"  {path}: 'a' has the tag 'catt' (did you mean 'cat'?)",
        f"  {path}: 'b' has the tag 'cat dog' (separate the tags: 'cat;dog' in CSV, a list in JSON)",
        f"  {path}: 'd' has the tag 'background' (background is not a tag: leave the tags empty)",
        f"  {path}: 'a.jpg' has the tag 'bus'",
        "  -> correct 'background' (background is not a tag: leave the tags empty), 'cat dog' (separate the tags: "
        "'cat;dog' in CSV, a list in JSON), 'catt' (did you mean 'cat'?); "
        "add to classes, or drop on purpose: ignore_tags=['bus']",
        'given twice (2):',
        f"  {path}: 'a' is labelled already in {path}",
        f"  {path}: 'a.jpg' is labelled already in {path}",
        'path that leaves the data set (2):',
        f"  {path}: '../x' leaves the image folder: names are relative paths inside it",
        f"  {path}: '/e.jpg' leaves the image folder: names are relative paths inside it",
        'cannot be read (1):',
        f"  {path}: the tags of 'c' should be a list of strings: 'dog'",
    ]


def test_tag_csv_reports_all_at_once_with_lines(tmp_path):
    path = tmp_path / 'tags.csv'
    path.write_text('file,tags\na,"cat\n"\nb,cat,dog\n\na.png,dgo\nC:\\x,cat\n')
    assert _error(TagFile(path=path)).splitlines() == [
        '4 problems with the image-level labels',
        'cannot be read (1):',
        f'  {path}:4: 3 fields, should be 2: file,tag;tag;tag',
        'tag that is not a class (1):',
        f"  {path}:6: 'a.png' has the tag 'dgo' (did you mean 'dog'?)",
        "  -> correct 'dgo' (did you mean 'dog'?)",
        'given twice (1):',
        f"  {path}:6: 'a.png' is labelled already in {path}:2",
        'path that leaves the data set (1):',
        f"  {path}:7: 'C:\\\\x' leaves the image folder: names are relative paths inside it",
    ]


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('t.json', b'{\n"a": ["cat"]\n"b": []}', r"t\.json:3: not JSON: Expecting ',' delimiter \(column 1\)"),
        ('t.json', b'[]', r't\.json: should be \{file: \[tags\]\}, not a list'),
        ('t.json', b'{"a":\n"\xe9"}', r't\.json:2: not UTF-8'),
        ('t.csv', b'', r't\.csv:1: the file is empty'),
        ('t.csv', b'a.jpg,cat\n', r"t\.csv:1: the header should be file,tags but is 'a.jpg,cat'"),
        ('t.csv', b'file,tags\na,"cat', r't\.csv:2: unexpected end of data'),
        ('missing.csv', None, r'missing\.csv: No such file'),
    ],
)
def test_tag_file_that_cannot_be_read(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageLabelError, match=message):
        TagFile(path=tmp_path / name).load(CLASSES)


@pytest.mark.parametrize(
    'content',
    [
        b'\xef\xbb\xbffile;tags\r\na.jpg;"cat;dog"\r\nb.jpg;\r\n',
        b'file;tags\na.jpg;cat;dog\nb.jpg\n',
        b'file\ttags\na.jpg\tcat;dog\nb.jpg\t\n',
        b'\n\n  \nFile,Tags\na.jpg,cat;dog\n\nb.jpg,\n',
        b'file,tags,,\na.jpg,cat;dog,,\nb.jpg,,,\n',
        b'"file","tags"\n"a.jpg","cat;dog"\n"b.jpg",""\n',
    ],
)
def test_what_spreadsheets_write(tmp_path, content):
    (tmp_path / 't.csv').write_bytes(content)
    assert TagFile(path=tmp_path / 't.csv').load(CLASSES) == {'a': [0, 1], 'b': []}


def test_lines_are_counted_from_the_beginning_of_the_file(tmp_path):
    (tmp_path / 't.csv').write_text('\n\nfile;tags\na;"cat\n"\nb;cow\n')
    assert f"{tmp_path}/t.csv:6: 'b' has the tag 'cow'" in _error(TagFile(path=tmp_path / 't.csv'))


@pytest.mark.parametrize('name', ['tags.xlsx', 'tags.XLS', 'tags.ods', 'tags.numbers'])
def test_a_spreadsheet_says_how_to_save_it(name):
    message = f'{name}: a spreadsheet is not read; save it as "CSV UTF-8" with the columns file and tags'
    with pytest.raises(ValueError, match=message):
        TagFile(path=name)


def test_one_name_in_two_unicode_forms():
    assert image_name('Mu\u0308nchen/Cafe\u0301.JPG') == 'München/Café'


def test_tags_in_two_unicode_forms(tmp_path):
    (tmp_path / 't.json').write_text('{"a": ["Mo\u0308we"], "b": ["Amsel", "Ka\u0308fer"]}')
    source = TagFile(path=tmp_path / 't.json', ignore_tags=['Käfer'])
    assert source.load(['Amsel', 'Möwe']) == {'a': [1], 'b': [0]}


def test_tag_file_needs_a_known_extension():
    with pytest.raises(ValueError, match=r'labels\.pkl: a tag file is a \.json or a \.csv'):
        TagFile(path='labels.pkl')


def test_empty_and_nested_json(tmp_path):
    path = tmp_path / 'tags.json'
    path.write_text('{ }')
    assert TagFile(path=path).load(CLASSES) == {}
    path.write_text('{"a": {"x": ["cat"], "y": "}"},\n"b": ["bus"]}')
    text = _error(TagFile(path=path))
    assert f"{path}: the tags of 'a' should be a list of strings" in text
    assert f"{path}: 'b' has the tag 'bus'" in text


def test_many_problems_are_cut_and_survive_pickle(tmp_path):
    path = tmp_path / 'tags.json'
    path.write_text(json.dumps({str(i): ['bus'] for i in range(33)}))
    with pytest.raises(ImageLabelError) as caught:
        TagFile(path=path).load(CLASSES)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 + 20 + 1 + 1
    assert lines[-2] == '  ... and 13 more'
    copied = pickle.loads(pickle.dumps(caught.value))  # as a data loader's worker hands it over
    assert str(copied) == str(caught.value)
    assert len(copied.problems['tag that is not a class']) == 33


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('a.jpg', 'a'),
        ('./s/../b.PNG', 'b'),
        ('s\\a.webp', 's/a'),
        ('2007.12.24', '2007.12.24'),
        (' x.tif ', 'x'),
        ('a.HEIC', 'a'),
        ('b.avif', 'b'),
    ],
)
def test_image_name(path, name):
    assert image_name(path) == name


@pytest.mark.parametrize('path', ['../a', 's/../../a', '/a', '\\\\host\\a', 'c:/a', '', '.', 'a\0b'])
def test_image_name_stays_in_its_folder(path):
    with pytest.raises(ValueError, match=r'leaves the image folder|is empty'):
        image_name(path)


def test_list_files_leaves_out_hidden_and_excluded(tmp_path):
    for path in ('b.JPG', 'a.png', 'x/c.jpg', '._b.jpg', '.cache/d.jpg', 'masks/a.png', 'notes.txt'):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert list_files(tmp_path, ('.jpg', '.png'), exclude=tmp_path / 'masks') == ['a.png', 'b.JPG', 'x/c.jpg']
    assert list_files(tmp_path, '.jpg') == ['b.JPG', 'x/c.jpg']


def test_list_files_stays_below_its_root(tmp_path):
    for path in ('root/a.jpg', 'root/x/b.jpg', 'elsewhere/c.jpg'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / 'root' / 'outside').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'root' / 'loop').symlink_to(tmp_path / 'root')
    (tmp_path / 'link').symlink_to(tmp_path / 'root')
    assert list_files(tmp_path / 'root', '.jpg') == ['a.jpg', 'x/b.jpg']
    assert list_files(tmp_path / 'link', '.jpg') == ['a.jpg', 'x/b.jpg']  # the root itself may be a link
