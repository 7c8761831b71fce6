"""The check of a data set: every kind of mistake is found, all at once, and a right data set passes."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.datasets.mask_files import write_mask

CONFIG = """
default_scope = 'mmseg'
_common = dict(type='ImageTagDataset', data_root={root!r}, classes=('cat', 'dog'),
               image_labels=dict(type='TagFile', path='tags.json'), pipeline=[dict(type='NotEvenBuilt')])
train_dataloader = dict(dataset=dict(ann_file='train.txt', data_prefix=dict(img_path='images'), **_common))
val_dataloader = dict(dataset=dict(
    ann_file='val.txt', data_prefix=dict(img_path='images', seg_map_path='masks'), test_mode=True, **_common))
test_dataloader = val_dataloader
"""


@pytest.fixture(scope='module')
def tool():
    return load_tool('dataset_converters/check.py')


@pytest.fixture
def root(tmp_path):
    """Two training images and three for validation, all right."""
    tags = {'a': ['cat'], 'b': [], 'c': ['cat', 'dog'], 'd': ['dog'], 'e': []}
    (tmp_path / 'images').mkdir()
    for k, (name, labels) in enumerate(tags.items()):
        pixels = np.random.default_rng(k).integers(0, 255, (4, 6, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{name}.jpg')
        mask = np.zeros((4, 6), int)
        mask[0, 0], mask[1, 1], mask[3] = 'cat' in labels, 2 * ('dog' in labels), 255
        write_mask(tmp_path / 'masks' / f'{name}.png', mask)
    (tmp_path / 'tags.json').write_text(json.dumps(tags))
    (tmp_path / 'train.txt').write_text('a\nb\n')
    (tmp_path / 'val.txt').write_text('c\nd\ne\n')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(tmp_path)))
    return tmp_path


def run(tool, root, *options):
    return tool.main([str(root / 'config.py'), '--workers', '0', *options])


def problems(tool, root, capsys, *options, status=1):
    """Problems of all data sets by kind, as the JSON has them, and the text on stderr."""
    assert run(tool, root, '--json', str(root / 'report.json'), *options) == status
    record = json.loads((root / 'report.json').read_text())
    assert record['wrong'] is bool(status)
    found = {'unexpected': record['unexpected_counts']} if record['unexpected_counts'] else {}
    for data_set in record['data_sets'].values():
        for kind, texts in data_set['problems'].items():
            found.setdefault(kind, []).extend(text.replace(str(root), 'ROOT') for text in texts)
    return found, capsys.readouterr().err.replace(str(root), 'ROOT')


def test_a_right_data_set(tool, root, capsys):
    assert run(tool, root, '--expect', 'train=2', 'val=3', 'test=3') == 0
    assert capsys.readouterr().out.splitlines() == [
        'train: 2 images, 0 with masks, 1 without tags',
        '  tags: cat 1, dog 0',
        'val+test: 3 images, 3 with masks, 1 without tags',
        '  tags: cat 1, dog 2',
        '  in masks: cat 1, dog 2',
        '  tags and masks contradict in 0 images (0.0 %): tag whose class is nowhere in the mask 0, '
        'class in the mask without a tag 0',
        'nothing is wrong',
    ]


def test_everything_wrong_at_once(tool, root, capsys):
    (root / 'tags.json').write_text('{"a": ["cta"], "c": ["cat", "dog"], "d": ["dog"], "e": ["cat"]}')
    (root / 'train.txt').write_text('a\nb\ngone\n')
    (root / 'images' / 'a.jpg').write_bytes((root / 'images' / 'a.jpg').read_bytes()[:-60])
    write_mask(root / 'masks' / 'c.png', np.array([[0, 1, 2, 3, 77, 255]] * 5))
    (root / 'masks' / 'd.png').write_bytes((root / 'masks' / 'd.png').read_bytes()[:50])
    write_mask(root / 'masks' / 'e.png', np.array([[0, 2, 2, 0, 0, 0]] * 4))
    found, error = problems(tool, root, capsys, '--expect', 'train=3', 'val=3')
    unexpected = ['ROOT/config.py: train_dataloader has 1 images, not 3']
    assert [text.replace(str(root), 'ROOT') for text in found.pop('unexpected')] == unexpected
    assert list(found) == [
        'tag that is not a class',
        'listed image that is missing',
        'image without an entry in the labels',
        'image that cannot be read',
        'mask of another size than its image',
        'mask with ids that no class has',
        'mask that cannot be read',
        'tag whose class is nowhere in the mask',
        'class in the mask without a tag',
    ]
    assert found['listed image that is missing'] == ["ROOT/train.txt:3: 'gone' is not in ROOT/images"]
    assert found['image that cannot be read'][0].startswith('ROOT/images/a.jpg: ')
    assert found['mask of another size than its image'] == ['ROOT/masks/c.png is 6x5, ROOT/images/c.jpg 6x4']
    assert found['mask with ids that no class has'] == [
        'ROOT/masks/c.png holds [3, 77]; there are 2 classes (ids 0..2)'
    ]
    assert found['mask that cannot be read'][0].startswith('ROOT/masks/d.png: ')
    assert found['tag whose class is nowhere in the mask'] == ['ROOT/masks/e.png: cat']
    assert found['class in the mask without a tag'] == ['ROOT/masks/e.png: dog']
    assert 'ROOT/config.py: train_dataloader has 1 images, not 3' in error
    assert 'val_dataloader' not in error
    assert error.startswith('11 problems with the data set\n')  # the unknown tag is one in each of the two data sets


def test_strips_are_refused_as_in_training(tool, root, capsys):
    Image.new('RGB', (500, 2)).save(root / 'images' / 'a.jpg')
    found, _ = problems(tool, root, capsys, '--splits', 'train')
    text = '500 x 2 pixels, one side more than 100 times the other: cut it up, or leave it out'
    assert found == {'image that cannot be read': [f'ROOT/images/a.jpg: {text}']}


def test_contradictions_may_be_allowed(tool, root, capsys):
    write_mask(root / 'masks' / 'd.png', np.array([[0, 1, 1, 0, 0, 255]] * 4))
    found, _ = problems(tool, root, capsys)
    assert sum(map(len, found.values())) == 2
    assert run(tool, root, '--allow-contradictions') == 0
    assert '  tags and masks contradict in 1 images (33.3 %): ' in capsys.readouterr().out
    write_mask(root / 'masks' / 'd.png', np.array([[0, 3, 1, 0, 0, 255]] * 4))
    assert run(tool, root, '--allow-contradictions') == 1


def test_masks_of_training_images_by_an_option(tool, root, capsys):
    write_mask(root / 'masks' / 'b.png', np.array([[0, 1, 1, 0, 0, 255]] * 4))
    option = 'train_dataloader.dataset.data_prefix.seg_map_path=masks'
    found, _ = problems(tool, root, capsys, '--splits', 'train', '--cfg-options', option)
    assert found == {'class in the mask without a tag': ['ROOT/masks/b.png: cat']}


def test_images_on_their_side_fit_their_masks(tool, root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (4, 6)).save(root / 'images' / 'e.jpg', exif=exif)
    assert run(tool, root) == 0


def test_data_sets_of_mmseg_in_wrappers(tool, root, capsys):
    """Two leaves in a wrapper; ids without a class; a list that is not there."""
    leaf = dict(
        type='BaseSegDataset',
        data_root=str(root),
        metainfo=dict(classes=('background', 'cat')),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
    )
    sets = [dict(leaf, ann_file='train.txt'), dict(leaf, ann_file='val.txt'), dict(leaf, ann_file='no.txt')]
    wrapper = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=2, dataset=sets[0]), *sets[1:]])
    (root / 'config.py').write_text(f'train_dataloader = dict(dataset={wrapper!r})')
    shutil.move(root / 'masks' / 'a.png', root / 'masks' / 'lost')
    found, _ = problems(tool, root, capsys)
    assert found['mask with ids that no class has'] == [
        f'ROOT/masks/{name}.png holds [2]; there are 1 classes (ids 0..1)' for name in 'cd'
    ]
    assert found['image whose mask is missing'] == ['ROOT/images/a.jpg: ROOT/masks/a.png']
    assert len(found) == 3  # the last one is that no.txt is missing
    assert 'no.txt' in found['data set that cannot be opened'][0]


def test_pseudo_masks(tool, root, capsys):
    settings = dict(
        type='PseudoMaskDataset',
        data_root=str(root),
        classes=('cat', 'dog'),
        data_prefix=dict(img_path='images'),
        mask_dir=str(root / 'masks'),
    )
    (root / 'config.py').write_text(f'train_dataloader = dict(dataset={settings!r})')
    assert run(tool, root) == 0
    write_mask(root / 'masks' / 'a.png', np.full((4, 6), 255))
    write_mask(root / 'masks' / 'b.png', np.full((4, 6), 9))
    (root / 'images' / 'c.jpg').write_bytes((root / 'images' / 'c.jpg').read_bytes()[:-10])
    found, _ = problems(tool, root, capsys)
    assert {kind: len(texts) for kind, texts in found.items()} == {
        'mask without a labelled pixel': 1,
        'mask with ids that no class has': 1,
        'image that cannot be read': 1,
    }


def test_arguments_that_cannot_be(tool, root, capsys):
    with pytest.raises(SystemExit):
        run(tool, root, '--expect', 'val:3')
    assert "'val:3' should be like val=1449" in capsys.readouterr().err
    (root / 'config.py').write_text('model = dict()')
    assert run(tool, root) == 1
    assert 'has none of the dataloaders of train, val, test' in capsys.readouterr().err
