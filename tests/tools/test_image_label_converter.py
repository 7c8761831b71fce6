"""The converter writes what TagFile reads, or nothing."""

import json

import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.datasets.image_labels import TagFile

CLASSES = ['cat', 'dog']
LABELS = {'a': [0, 1], 'b': [1]}


@pytest.fixture(scope='module')
def converter():
    return load_tool('dataset_converters/image_labels.py')


@pytest.fixture
def sources(tmp_path):
    """The same two images in every format the converter knows."""
    tags = {name: [CLASSES[k] for k in label] for name, label in LABELS.items()}
    (tmp_path / 'in.json').write_text(json.dumps(tags))
    (tmp_path / 'in.csv').write_text('file,tags\nb,dog\na,cat;dog\n')
    np.savez(tmp_path / 'in.npz', names=['b', 'a'], labels=[[0, 1], [1, 1]], classes=CLASSES)
    categories = [{'id': k, 'name': name} for k, name in enumerate(CLASSES)]
    images = [{'id': i, 'file_name': f'{name}.jpg'} for i, name in enumerate(LABELS)]
    pairs = [{'image_id': i, 'category_id': k} for i, label in enumerate(LABELS.values()) for k in label]
    (tmp_path / 'coco.json').write_text(json.dumps({'images': images, 'annotations': pairs, 'categories': categories}))
    for folder in ('xml', 'masks', 'folders/cat', 'folders/dog'):
        (tmp_path / folder).mkdir(parents=True)
    for name, label in LABELS.items():
        objects = ''.join(f'<object><name>{CLASSES[k]}</name></object>' for k in label)
        (tmp_path / 'xml' / f'{name}.xml').write_text(f'<annotation>{objects}</annotation>')
        mask = np.array([[0, 255, *(k + 1 for k in label)]], np.uint8)
        Image.fromarray(mask).save(tmp_path / 'masks' / f'{name}.png')
        for k in label:
            (tmp_path / 'folders' / CLASSES[k] / f'{name}.jpg').touch()
    return tmp_path


@pytest.mark.parametrize('out', ['out.json', 'out.csv'])
@pytest.mark.parametrize(
    ('kind', 'src'),
    [
        ('json', 'in.json'),
        ('csv', 'in.csv'),
        ('npz', 'in.npz'),
        ('coco', 'coco.json'),
        ('voc-xml', 'xml'),
        ('masks', 'masks'),
        ('folders', 'folders'),
    ],
)
def test_every_source_is_written_the_same(converter, sources, kind, src, out, capsys):
    path = sources / out
    assert converter.main([str(sources / src), str(path), '--from', kind, '--classes', *CLASSES]) == 0
    expected = {
        'out.json': '{\n"a": ["cat", "dog"],\n"b": ["dog"]\n}\n',
        'out.csv': 'file,tags\na,cat;dog\nb,dog\n',
    }
    assert path.read_text() == expected[out]
    assert TagFile(path=path).load(CLASSES) == LABELS
    assert capsys.readouterr().out.splitlines() == [
        f'{path}: 2 images, 1 with two or more tags, 0 without',
        '  cat 1',
        '  dog 2',
    ]


def test_wrong_labels_leave_the_old_file_alone(converter, sources, capsys):
    out = sources / 'out.json'
    out.write_text('old')
    before = sorted(path.name for path in sources.iterdir())
    assert converter.main([str(sources / 'in.csv'), str(out), '--from', 'csv', '--classes', 'cat', 'dgo']) == 1
    message = capsys.readouterr().err
    assert f"{sources}/in.csv:2: 'b' has the tag 'dog' (did you mean 'dgo'?)" in message
    assert message.endswith(f'{out} is not written\n')
    assert out.read_text() == 'old'
    assert sorted(path.name for path in sources.iterdir()) == before


def test_an_interrupted_write_leaves_nothing(converter, sources, capsys, monkeypatch):
    before = sorted(sources.iterdir())
    monkeypatch.setattr('os.replace', lambda *_: (_ for _ in ()).throw(OSError('full')))
    args = [str(sources / 'in.json'), str(sources / 'out.json'), '--from', 'json', '--classes', *CLASSES]
    assert converter.main(args) == 1
    assert 'full' in capsys.readouterr().err
    assert sorted(sources.iterdir()) == before


def test_dropped_tags_and_other_mask_classes(converter, sources, tmp_path):
    (tmp_path / 'classes.txt').write_text('dog\n')
    classes = ['--classes', f'@{tmp_path}/classes.txt', '--mask-classes', *CLASSES]
    args = ['--from', 'masks', *classes, '--ignore-tags', 'cat']
    assert converter.main([str(sources / 'masks'), str(tmp_path / 'dogs.json'), *args]) == 0
    assert json.loads((tmp_path / 'dogs.json').read_text()) == {'a': ['dog'], 'b': ['dog']}


@pytest.mark.parametrize(
    ('out', 'classes', 'extra', 'message'),
    [
        ('out.txt', CLASSES, [], "OUT should end in .json or .csv, not '.txt'"),
        ('out.csv', ['cat', 'dog', 'a;b'], [], "['a;b'] cannot be written as CSV"),
        ('out.json', CLASSES, ['--mask-classes', 'cat'], '--mask-classes is for --from masks'),
    ],
)
def test_what_cannot_be_written(converter, sources, out, classes, extra, message, capsys):
    args = [str(sources / 'in.json'), str(sources / out), '--from', 'json', '--classes', *classes, *extra]
    assert converter.main(args) == 1
    assert message in capsys.readouterr().err
    assert not (sources / out).exists()
