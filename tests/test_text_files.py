"""Files of people and other programs that are no text, no JSON, or beyond what Python reads: the message names them."""

import re
from pathlib import Path

import pytest
from tool_module import load_tool

from demo import voc
from mmseg_wsss.datasets.conversion.coco import read_instances
from mmseg_wsss.datasets.conversion.mask_set import open_mask_set
from mmseg_wsss.datasets.conversion.voc import read_list, read_sbd
from mmseg_wsss.datasets.image_files import listed_images
from mmseg_wsss.datasets.image_labels import VOCXML, COCOAnnotations, ImageLabelError, Problems, TagFile
from mmseg_wsss.datasets.label_map import manifest_classes, read_label_map
from mmseg_wsss.pseudo_labels import Manifest, ShardError, merge_shards
from mmseg_wsss.text_files import read_json, read_text

DIGITS = '9' * 5000
LATIN = 'a\nb\ncaf\u00e9\n'.encode('latin-1')
NOT_UTF8 = ':3: not UTF-8; save the file again with that encoding (Excel: "CSV UTF-8")'
WRONG = {
    'cut': ('{"a":\n ["b"', ":2: not JSON: Expecting ',' delimiter (column 6)"),
    'deep': ('[' * 100_000, ': JSON that is nested too deeply to be read: write it with fewer levels'),
    'digits': (f'[{DIGITS}]', ': JSON with a number of too many digits to be read: correct that number'),
}


@pytest.fixture(params=WRONG)
def wrong(request, tmp_path):
    """A JSON file, and the message for it."""
    text, message = WRONG[request.param]
    path = tmp_path / 'manifest.json'
    path.write_text(text)
    return path, f'{path}{message}'


def test_text_and_json_are_read(tmp_path):
    path = tmp_path / 'a.json'
    path.write_bytes('\ufeff{"b": 1, "\u00fc": [2]}\r\n'.encode())
    assert read_text(path) == '{"b": 1, "\u00fc": [2]}\n'
    assert read_json(path) == {'b': 1, '\u00fc': [2]}
    assert read_json(path, object_pairs_hook=tuple) == (('b', 1), ('\u00fc', [2]))


@pytest.mark.parametrize('read', [read_text, read_json])
def test_files_that_are_no_text(tmp_path, read):
    path = tmp_path / 'a.json'
    with pytest.raises(ValueError, match=f'^{path}: No such file or directory$'):
        read(path)
    with pytest.raises(ValueError, match=f'^{tmp_path}: Is a directory$'):
        read(tmp_path)
    path.write_bytes(LATIN)
    with pytest.raises(ValueError, match=re.escape(f'{path}{NOT_UTF8}')):
        read(path)


def test_json_that_cannot_be_read(wrong):
    path, message = wrong
    with pytest.raises(ValueError, match='JSON') as error:
        read_json(path)
    assert str(error.value) == message


@pytest.mark.parametrize('source', [TagFile, COCOAnnotations])
def test_sources_of_labels(wrong, source):
    path, message = wrong
    with pytest.raises(ImageLabelError) as error:
        source(path=path).load(['cat'])
    assert error.value.problems == {'cannot be read': [message]}


def test_instances_of_coco(wrong):
    path, message = wrong
    with pytest.raises(ImageLabelError) as error:
        read_instances(path, Problems())
    assert error.value.problems == {'cannot be read': [message]}


def test_the_manifest_of_masks(wrong, tmp_path):
    path, message = wrong
    (tmp_path / 'a.png').touch()
    with pytest.raises(ValueError, match='JSON') as error:
        open_mask_set(tmp_path)
    assert str(error.value) == message
    with pytest.raises(ValueError, match=re.escape(f'{path} is damaged ({message}): choose another --out')):
        Manifest(tmp_path, {}).read()
    with pytest.raises(ShardError) as error:
        merge_shards(tmp_path)
    assert str(error.value) == f'{tmp_path} is not a folder of pseudo-labels: {message}'


@pytest.mark.parametrize('text', ['[]', '{}', '{"settings": []}', '{"settings": {"classes": null}}', '"x"', '3'])
def test_a_manifest_of_another_program(tmp_path, text):
    (tmp_path / 'manifest.json').write_text(text)
    assert manifest_classes(tmp_path / 'manifest.json') is None
    (tmp_path / 'a.png').touch()
    with pytest.raises(ValueError, match='which say what the ids mean: give --classes'):
        open_mask_set(tmp_path)
    (tmp_path / 'labelmap.txt').write_text('background 0 0 0\ncat 1 1 1\n')
    assert open_mask_set(tmp_path).classes == ('background', 'cat')


def test_the_report_of_a_shard(wrong, tmp_path):
    path, message = wrong
    report = path.rename(tmp_path / 'report-1-of-1.json')
    path.write_text('{}')
    with pytest.raises(ShardError) as error:
        merge_shards(tmp_path)
    message = message.replace(str(path), str(report))
    assert str(error.value) == f'{tmp_path} is not a folder of pseudo-labels: {message}'


def test_a_shard_that_is_missing_is_told_as_before(tmp_path):
    (tmp_path / 'manifest.json').write_text('{}')
    (tmp_path / 'report-1-of-2.json').write_text('{}')
    with pytest.raises(ShardError, match=r'^shard 2/2 did not finish: run --shard with it \(again\)$'):
        merge_shards(tmp_path)


def test_the_record_of_predictions(wrong):
    path, message = wrong
    tool = load_tool('predict.py')
    with pytest.raises(ValueError, match='JSON') as error:
        tool.earlier_images(path, {})
    assert str(error.value) == message
    path.write_text('[1]')
    with pytest.raises(ValueError, match='are of another checkpoint or config: choose another --out'):
        tool.earlier_images(path, {})


def test_the_tags_of_the_demo(wrong, tmp_path):
    path, message = wrong
    for name in ('JPEGImages', 'SegmentationClassX', 'ImageSets/Segmentation'):
        (tmp_path / name).mkdir(parents=True)
    for name in ('train', 'val'):
        (tmp_path / f'ImageSets/Segmentation/x_{name}.txt').touch()
    tags = path.rename(tmp_path / 'image_labels_x.json')
    with pytest.raises(ValueError, match='JSON') as error:
        voc.find(tmp_path)
    assert str(error.value) == message.replace(str(path), str(tags))


@pytest.mark.parametrize(
    'read',
    [
        read_list,
        read_label_map,
        lambda path: load_tool('analysis_tools/mask_iou.py').names_of(path, {}),
        lambda path: list(listed_images(str(path), {'a': 'a.jpg', 'b': 'b.jpg'}, 'images', Problems())),
        lambda path: TagFile(path=path).load(['cat']),
    ],
)
def test_lists_and_tables_that_are_not_utf8(tmp_path, read):
    path = tmp_path / 'list.csv'
    path.write_bytes(LATIN)
    with pytest.raises(ValueError, match=re.escape(f'{path}{NOT_UTF8}')):
        read(path)


def test_a_list_of_sbd_that_is_not_utf8(tmp_path):
    (tmp_path / 'dataset').mkdir()
    (tmp_path / 'dataset/train.txt').write_bytes(LATIN[4:])
    with pytest.raises(ValueError, match=r"dataset/train\.txt: 'caf\ufffd' is not an image id of VOC"):
        list(read_sbd(tmp_path, {}))


@pytest.mark.parametrize(
    ('field', 'problem'),
    [
        ('"id": 1e999, "file_name": "a.jpg"', 'OverflowError'),
        ('"id": "x", "file_name": "a.jpg"', 'ValueError'),
        (f'"id": "{DIGITS}", "file_name": "a.jpg"', 'ValueError'),
    ],
)
def test_numbers_of_coco(tmp_path, field, problem):
    path = tmp_path / 'instances.json'
    path.write_text(f'{{"images": [{{{field}}}], "annotations": [], "categories": []}}')
    for read in (lambda: COCOAnnotations(path=path).load(['cat']), lambda: read_instances(path, Problems())):
        with pytest.raises(ImageLabelError) as error:
            read()
        (told,) = error.value.problems['cannot be read']
        assert told.startswith(f'{path}: ')
        assert problem in told


@pytest.mark.parametrize('encoding', ['klingon', 'hex', 'idna', 'shift-jis'])
def test_xml_in_an_encoding_that_is_not_read(tmp_path, encoding):
    path = tmp_path / 'a.xml'
    path.write_text(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>')
    (tmp_path / 'b.xml').symlink_to(tmp_path / 'gone')
    with pytest.raises(ImageLabelError) as error:
        VOCXML(root=tmp_path).load(['cat'])
    first, second = error.value.problems['cannot be read']
    assert first.startswith(f'{path}: ')
    assert first.endswith(': save it as UTF-8')
    assert second == f"{tmp_path}/b.xml: [Errno 2] No such file or directory: '{tmp_path}/b.xml'"


def test_xml_of_many_levels_is_read(tmp_path):
    (tmp_path / 'a.xml').write_text('<annotation>' * 50_000 + '</annotation>' * 50_000)
    assert VOCXML(root=Path(tmp_path)).load(['cat']) == {'a': []}
