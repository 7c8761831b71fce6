"""The subset of VOC: which images, which tags, which mask ids; and the real one is made as it is known."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from drawn_voc import ANIMALS, LISTS, draw_voc
from PIL import Image
from tool_module import load_tool

TAGS = {
    '2007_000003': ['sofa', 'dog', 'cat', 'dog'],  # other classes may be on an image as well
    '2007_000001': ['cat'],
    '2007_000002': ['sofa'],
    '2007_000004': ['dog'],
}
# VOC: 8 cat, 12 dog, 18 sofa
MASKS = {
    '2007_000003': [0, 8, 12, 18, 255],
    '2007_000001': [8, 8, 0, 0, 255],
    '2007_000002': [18, 0, 0, 0, 0],
    '2007_000004': [12, 0, 0, 20, 255],
}
SPLITS = {'train_aug': ['2007_000003', '2007_000001', '2007_000002'], 'train': ['2007_000001'], 'val': ['2007_000004']}


@pytest.fixture
def tool():
    return load_tool('dataset_converters/voc_subset.py')


@pytest.fixture
def voc(tmp_path):
    """Four images in the layout of VOC 2012."""
    root = tmp_path / 'VOC2012'
    for folder in ('JPEGImages', 'Annotations', 'SegmentationClassAug', LISTS):
        (root / folder).mkdir(parents=True)
    for name, tags in TAGS.items():
        Image.new('RGB', (5, 1)).save(root / 'JPEGImages' / f'{name}.jpg')
        objects = ''.join(f'<object><name>{tag}</name></object>' for tag in tags)
        (root / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{objects}</annotation>')
        mask = Image.fromarray(np.array([MASKS[name]], np.uint8))
        mask.putpalette([0] * 768)
        mask.save(root / 'SegmentationClassAug' / f'{name}.png')
    for split, names in SPLITS.items():
        (root / LISTS / f'{split}.txt').write_text('\n'.join(names) + '\n')
    return root


def _run(tool, root, *more, classes=('dog', 'cat'), name='pets'):
    return tool.main([str(root), '--name', name, '--classes', *classes, *map(str, more)])


def _files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_lists_tags_and_masks(tool, voc):
    before = _files(voc)
    assert _run(tool, voc) == 0
    made = {name: content for name, content in _files(voc).items() if name not in before}
    assert made.pop(f'{LISTS}/pets_train_aug.txt') == b'2007_000003\n2007_000001\n'  # the order of train_aug.txt
    assert made.pop(f'{LISTS}/pets_train.txt') == b'2007_000001\n'
    assert made.pop('.lock').startswith(b'process ')
    assert made.pop(f'{LISTS}/pets_val.txt') == b'2007_000004\n'
    assert json.loads(made.pop('image_labels_pets.json')) == {
        '2007_000001': ['cat'],
        '2007_000003': ['dog', 'cat'],
        '2007_000004': ['dog'],
    }
    masks = {Path(name): Image.open(io.BytesIO(content)) for name, content in made.items()}
    assert {path.stem: np.array(mask).tolist() for path, mask in masks.items()} == {
        '2007_000001': [[2, 2, 0, 0, 255]],
        '2007_000003': [[0, 2, 1, 255, 255]],
        '2007_000004': [[1, 0, 0, 255, 255]],
    }
    assert {str(path.parent) for path in masks} == {'SegmentationClassPets'}
    for mask in masks.values():
        assert mask.mode == 'P'
        assert mask.getpalette()[:9] == [0, 0, 0, 64, 0, 128, 64, 0, 0]  # dog and cat in the colours of VOC
    assert {name: _files(voc)[name] for name in before} == before


def test_a_tag_file_stands_for_the_annotations(tool, voc, tmp_path, monkeypatch):
    (tmp_path / 'tags.json').write_text(json.dumps({**TAGS, '2007_000001': ['dog']}))
    monkeypatch.chdir(tmp_path)  # the path is that of the command line, not one below the data set
    assert _run(tool, voc, '--labels', 'tags.json', '--out', tmp_path / 'out') == 0
    tags = json.loads((tmp_path / 'out' / 'image_labels_pets.json').read_text())
    assert tags == {'2007_000001': ['dog'], '2007_000003': ['dog', 'cat'], '2007_000004': ['dog']}
    assert not (voc / 'image_labels_pets.json').exists()


def test_without_the_augmented_masks(tool, voc, capsys):
    (voc / 'SegmentationClassAug').rename(voc / 'SegmentationClass')
    (voc / 'SegmentationClass' / '2007_000003.png').unlink()  # of train_aug alone
    assert _run(tool, voc) == 0
    assert sorted(path.stem for path in (voc / 'SegmentationClassPets').iterdir()) == ['2007_000001', '2007_000004']
    (voc / LISTS / 'train_aug.txt').unlink()
    assert _run(tool, voc, name='two') == 0
    assert f'two_train_aug.txt is not written: there is no {voc}/{LISTS}/train_aug.txt' in capsys.readouterr().out
    assert set(json.loads((voc / 'image_labels_two.json').read_text())) == {'2007_000001', '2007_000004'}


def test_masks_that_are_right_are_left_and_others_drawn_again(tool, voc, capsys):
    assert _run(tool, voc) == 0
    folder = voc / 'SegmentationClassPets'
    expected = _files(folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / '.2007_000001.part-4711.png').write_bytes(b'half')  # of a run that was killed
    (folder / '2007_000001.png').write_bytes(b'half a mask')
    (folder / '2007_000003.png').unlink()
    capsys.readouterr()
    assert _run(tool, voc) == 0
    assert f'{folder}: 2 masks drawn, 1 there already' in capsys.readouterr().out
    assert _files(folder) == expected
    assert (folder / '2007_000004.png').stat().st_mtime_ns == times['2007_000004.png']
    assert _run(tool, voc, classes=('cat', 'dog')) == 0  # other ids under the same name
    assert np.array(Image.open(folder / '2007_000003.png')).tolist() == [[0, 1, 2, 255, 255]]


def _error(tool, root, capsys, *more, **options):
    assert _run(tool, root, *more, **options) == 1
    error = capsys.readouterr().err
    assert error.endswith('are not written\n')
    assert not [path for path in root.rglob('*') if path.name.startswith(('pets_', 'image_labels_'))]
    return error


def test_everything_missing_is_named_at_once(tool, voc, capsys):
    (voc / 'JPEGImages' / '2007_000003.jpg').unlink()
    (voc / 'Annotations' / '2007_000001.xml').unlink()
    (voc / 'SegmentationClassAug' / '2007_000002.png').unlink()
    error = _error(tool, voc, capsys)
    assert f"{voc}/{LISTS}/train_aug.txt:1: '2007_000003' is not in {voc}/JPEGImages" in error
    assert f"{voc}/{LISTS}/train_aug.txt:2: '2007_000001.jpg' has no entry" in error
    assert f'{voc}/{LISTS}/train_aug.txt:3: {voc}/SegmentationClassAug/2007_000002.png' in error


def test_masks_that_are_none_are_named(tool, voc, capsys):
    path = voc / 'SegmentationClassAug' / '2007_000004.png'
    Image.fromarray(np.array([[0, 21, 99, 255]], np.uint8)).save(path)
    assert f'{path}: has the ids [21, 99], VOC has 0..20 and 255' in _error(tool, voc, capsys)
    Image.new('RGB', (5, 1)).save(path)
    assert f'{path}: a mask of mode RGB' in _error(tool, voc, capsys)
    path.write_bytes(path.read_bytes()[:40])
    assert f'{path}: cannot be read as a mask' in _error(tool, voc, capsys)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'classes': ('cat', 'zebra')}, '--classes: VOC has no zebra; it has aeroplane, bicycle'),
        ({'classes': ('cat', 'cat')}, 'classes has cat twice'),
        ({'classes': ('bus',)}, 'no image has a tag among bus'),
        ({'name': 'Aug'}, 'and not "aug", which VOC uses'),
        ({'name': '../pets'}, "--name '../pets': should be of letters"),
    ],
)
def test_arguments_that_cannot_be(tool, voc, capsys, options, message):
    assert message in _error(tool, voc, capsys, **options)


def test_another_folder_is_refused(tool, tmp_path, capsys):
    assert f'{tmp_path}/{LISTS}: has none of train_aug.txt, train.txt, val.txt' in _error(tool, tmp_path, capsys)


@pytest.fixture(scope='module', params=['drawn', 'real'])
def whole(request, tmp_path_factory):
    """VOC's layout, drawn or real: lists and tags, three masks, the other files empty; and the sizes of the subset."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == 'drawn':
        return folder, {name.removeprefix('animals_'): images for name, (images, _) in draw_voc(folder).items()}
    shared = request.getfixturevalue('shared')
    with tarfile.open(shared / 'data' / 'voc12_animals' / 'val.tar') as tar:
        members = [member for member in tar if not member.name.endswith('.jpg')]
        masks = [member for member in members if member.name.endswith('.png')]
        tar.extractall(folder, [m for m in members if m not in masks] + masks[60:63], filter='data')
    root = folder / 'VOCdevkit' / 'VOC2012'
    (root / 'JPEGImages').mkdir(exist_ok=True)
    for name in json.loads((root / 'image_labels.json').read_text()):
        (root / 'JPEGImages' / f'{name}.jpg').touch()
        (root / 'SegmentationClassAug' / f'{name}.png').touch()
    return root, {'train_aug': 3139, 'train': 445, 'val': 462}


def test_lists_and_tags_of_the_whole_subset(tool, whole, tmp_path, monkeypatch):
    root, sizes = whole
    drawn = []
    monkeypatch.setattr(tool, 'draw_mask', lambda source, *_: drawn.append(source.stem) is None)
    out = tmp_path / 'out'
    options = ['--labels', root / 'image_labels.json', '--out', out]
    assert _run(tool, root, *options, classes=ANIMALS, name='animals') == 0
    for split, count in sizes.items():
        names = (out / LISTS / f'animals_{split}.txt').read_text()
        assert names == (root / LISTS / f'animals_{split}.txt').read_text()
        assert len(names.split()) == count
    tags = json.loads((out / 'image_labels_animals.json').read_text())
    assert tags == json.loads((root / 'image_labels_animals.json').read_text())
    assert drawn == sorted(tags)
    assert len(drawn) == sizes['train_aug'] + sizes['val']


def test_masks_of_the_whole_subset(tool, whole, tmp_path):
    root, _ = whole
    sources = [path for path in (root / 'SegmentationClassAug').iterdir() if path.stat().st_size]
    assert len(sources) == 3
    for source in sources:
        assert tool.draw_mask(source, tmp_path / 'out.png', tool.id_table(ANIMALS), [])
        ids, mask = np.array(Image.open(source)), np.array(Image.open(tmp_path / 'out.png'))
        assert (ids > 0).any()
        for new, old in enumerate((0, 8, 10, 12, 13, 15, 17)):
            assert ((mask == new) == (ids == old)).all()
        assert set(np.unique(mask)) <= {*range(7), 255}
