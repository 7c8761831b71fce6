"""The same tiny data set in every format gives the same labels; every mistake is named with its place."""

import json

import numpy as np
import pytest
from mmseg.registry import TASK_UTILS
from PIL import Image

from mmseg_wsss.datasets.image_labels import (
    VOCXML,
    ClassFolders,
    COCOAnnotations,
    ImageLabelError,
    LabelArrays,
    MaskFolder,
    TagFile,
)

CLASSES = ('cat', 'dog', 'traffic light')
TAGS = {'a': ['dog', 'cat'], 'b': ['traffic light'], 'sub/c': []}
LABELS = {'a': [0, 1], 'b': [2], 'sub/c': []}


def _json(root):
    (root / 'tags.json').write_text(json.dumps({f'{name}.jpg': tags for name, tags in TAGS.items()}))
    return TagFile(path=root / 'tags.json')


def _csv(root):
    # With the byte-order mark, line ends and back slashes of Windows.
    (root / 'tags.csv').write_bytes(
        b'\xef\xbb\xbffile,tags\r\na,dog;cat\r\n\r\n"b.JPG",traffic light\r\nsub\\c.jpg,\r\n'
    )
    return TagFile(path=root / 'tags.csv')


def _folders(root):
    for place in ('cat/a', 'dog/a', 'traffic light/b', 'background/sub/c'):
        path = root / 'folders' / f'{place}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.stem.encode())
    return ClassFolders(root=root / 'folders')


def _xml(root, head=''):
    for name, tags in TAGS.items():
        path = root / 'xml' / f'{name}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        objects = ''.join(f'<object><name>{t}</name><part><name>head</name></part></object>\n' for t in tags * 2)
        path.write_text(f'{head}<annotation>\n<filename>stale.jpg</filename>\n{objects}</annotation>')
    return VOCXML(root=root / 'xml')


def _masks(root):
    for name, ids in {'a': [0, 2, 1, 255], 'b': [3, 3, 255, 255], 'sub/c': [0, 0, 0, 255]}.items():
        path = root / 'masks' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.fromarray(np.array(ids, np.uint8).reshape(2, 2))
        mask.putpalette(list(range(256)) * 3)
        mask.save(path)
    return MaskFolder(root=root / 'masks')


def _coco_content():
    categories = [{'id': 90, 'name': 'traffic light'}, {'id': 18, 'name': 'dog'}, {'id': 17, 'name': 'cat'}]
    ids = {category['name']: category['id'] for category in categories}
    images = [{'id': 7 + i, 'file_name': f'{name}.jpg'} for i, name in enumerate(TAGS)]
    pairs = [(7 + i, ids[tag]) for i, tags in enumerate(TAGS.values()) for tag in tags * 2]
    annotations = [{'image_id': image, 'category_id': category, 'iscrowd': 1} for image, category in pairs]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _coco(root):
    (root / 'coco.json').write_text(json.dumps(_coco_content()))
    return COCOAnnotations(path=root / 'coco.json')


def _npz(root):
    columns = ['dog', 'traffic light', 'cat']  # not in the order of CLASSES
    labels = [[column in tags for column in columns] for tags in TAGS.values()]
    np.savez(root / 'labels.npz', names=list(TAGS), labels=np.array(labels, np.uint8), classes=columns)
    return LabelArrays(path=root / 'labels.npz')


@pytest.mark.parametrize('make', [_json, _csv, _folders, _xml, _masks, _coco, _npz])
def test_every_format_gives_the_same(make, tmp_path):
    assert make(tmp_path).load(CLASSES) == LABELS


def test_sources_are_registered(tmp_path):
    path = _json(tmp_path).path
    assert TASK_UTILS.build({'type': 'TagFile', 'path': str(path)}).load(CLASSES) == LABELS


@pytest.mark.parametrize('make', [_json, _csv, _folders, _xml, _coco, _npz])
def test_ignored_tags_are_dropped_and_others_are_not(make, tmp_path):
    source = make(tmp_path)
    with pytest.raises(ImageLabelError, match=r"ignore_tags=\['traffic light'\]"):
        source.load(['cat', 'dog'])
    source.ignore_tags = frozenset({'traffic light'})
    labels = source.load(['cat', 'dog'])
    labels.pop('b', None)  # a left-out class folder does not list its images
    assert labels == {'a': [0, 1], 'sub/c': []}


def _error(source, classes=CLASSES):
    with pytest.raises(ImageLabelError) as caught:
        source.load(classes)
    return str(caught.value)


def test_class_folders_refuse_two_images_of_one_name(tmp_path):
    source = _folders(tmp_path)
    (source.root / 'dog' / 'a.jpg').write_bytes(b'another')
    text = _error(source)
    assert f'{source.root}/dog/a.jpg: not the image {source.root}/cat/a.jpg, though named the same' in text


def test_class_folders_name_images_below_their_class(tmp_path):
    source = _folders(tmp_path)
    assert source.name_of('cat/sub/a.jpg') == 'sub/a'
    assert source.name_of('other/a.jpg') == 'other/a'
    assert source.name_of('a.jpg') == 'a'
    (source.root / 'dgo').mkdir()
    (source.root / 'dgo' / 'd.jpg').touch()
    assert f"{source.root}/dgo/d.jpg: 'd' has the tag 'dgo' (did you mean 'dog'?)" in _error(source)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (ClassFolders, 'nowhere: no such folder'),
        (VOCXML, r'nowhere: no \.xml file in it'),
        (MaskFolder, r'nowhere: no \.png mask in it'),
    ],
)
def test_folders_that_are_not_there(make, message, tmp_path):
    with pytest.raises(ImageLabelError, match=message):
        make(root=tmp_path / 'nowhere').load(CLASSES)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_xml_with_a_doctype_is_refused(encoding, tmp_path):
    source = _xml(tmp_path)
    bomb = '<!DOCTYPE annotation [<!ENTITY x "cat">]>\n<annotation><object><name>&x;</name></object></annotation>'
    (source.root / 'a.xml').write_bytes(bomb.encode(encoding))
    text = _error(source)
    assert f'{source.root}/a.xml: has a DOCTYPE' in text
    assert text.startswith('1 problem ')


def test_xml_problems_name_the_file(tmp_path):
    source = _xml(tmp_path)
    (source.root / 'a.xml').write_text('<annotation>\n<object>\n<name> bus </name></object></annotation>')
    (source.root / 'b.xml').write_text('<annotation>\n<object></annotation>')
    (source.root / 'sub' / 'c.xml').write_text('<html/>')
    text = _error(source)
    assert f"{source.root}/a.xml: 'a' has the tag 'bus'" in text
    assert f'{source.root}/b.xml: mismatched tag: line 2' in text
    assert f'{source.root}/sub/c.xml: not a VOC annotation' in text


def test_masks_that_are_wrong_are_named(tmp_path):
    source = _masks(tmp_path)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(source.root / 'rgb.png')
    Image.fromarray(np.full((2, 2), 7, np.uint8)).save(source.root / 'seven.png')
    data = (source.root / 'a.png').read_bytes()
    (source.root / 'cut.png').write_bytes(data[: len(data) // 2])
    text = _error(source)
    assert text.startswith('3 problems')
    assert f'{source.root}/rgb.png: a mask of mode RGB' in text
    assert f"{source.root}/seven.png: 'seven.png' has the tag 'id 7'" in text
    assert f'{source.root}/cut.png: ' in text


def test_masks_with_other_classes_than_the_trained(tmp_path):
    source = _masks(tmp_path)
    chosen = MaskFolder(root=source.root, mask_classes=('bus', 'cat', 'dog'), ignore_tags=('bus',))
    assert chosen.load(['dog', 'cat']) == {'a': [1], 'b': [0], 'sub/c': []}


def test_coco_problems(tmp_path):
    path = tmp_path / 'coco.json'
    content = _coco_content()
    content['annotations'] += [{'image_id': 99, 'category_id': 17}, {'image_id': 7, 'category_id': 1}]
    content['images'] += [{'id': 7, 'file_name': 'd.jpg'}, {'id': 50, 'file_name': 'b.jpg'}]
    path.write_text(json.dumps(content))
    text = _error(COCOAnnotations(path=path))
    assert f'{path}: annotations[6]: image_id 99 or category_id 17 is not in the file' in text
    assert f'{path}: annotations[7]: image_id 7 or category_id 1 is not in the file' in text
    assert f'{path}: images[3]: the id 7 belongs to two images' in text
    assert f"{path}: images[4]: 'b.jpg' is labelled already in {path}: images[1]" in text
    del content['images'][0]['file_name']
    path.write_text(json.dumps(content))
    assert "wrong value: KeyError('file_name')" in _error(COCOAnnotations(path=path))
    path.write_text('{"images": []}')
    assert 'should be an object with the lists images, annotations, categories' in _error(COCOAnnotations(path=path))


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ((), 'at least one foreground class'),
        ('cat', "got 'cat'"),
        (('cat', ''), 'at least one foreground class'),
        (('cat', 'dog', 'cat'), 'has cat twice'),
        (('background', 'cat'), "take 'background' out"),
    ],
)
def test_classes_that_cannot_be(classes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        _json(tmp_path).load(classes)


def test_ignore_tags_that_cannot_be(tmp_path):
    path = _json(tmp_path).path
    with pytest.raises(ValueError, match='ignore_tags drops cat, which are in classes'):
        TagFile(path=path, ignore_tags=['cat']).load(CLASSES)
    with pytest.raises(ValueError, match="got the string 'bus'"):
        TagFile(path=path, ignore_tags='bus')
