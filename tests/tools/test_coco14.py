"""COCO annotations as masks: every kind of segmentation, which object is on top, lists, and what is wrong."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from tool_module import TOOLS, load_tool

rle_codec = pytest.importorskip('pycocotools.mask', reason='the extra `coco` is not installed')

SIZE = dict(height=6, width=8)


@pytest.fixture(scope='module')
def tool():
    return load_tool('dataset_converters/coco14.py')


def box(left, top, right, bottom):
    """The polygon around the pixels left..right-1, top..bottom-1."""
    return [left, top, right, top, right, bottom, left, bottom]


def item(image, category, segmentation, crowd=0):
    return dict(image_id=image, category_id=category, segmentation=segmentation, iscrowd=crowd, area=1, bbox=[0] * 4)


def content():
    """Categories with gaps and out of order; polygons of one and two parts, run lengths of both kinds, nothing."""
    crowd = np.zeros((6, 8), np.uint8)
    crowd[:, 5:] = 1
    counts, last, run = [], 0, 0
    for value in crowd.flatten(order='F').tolist():  # COCO counts down the columns, zeros first
        if value != last:
            counts.append(run)
            last, run = value, 0
        run += 1
    counts.append(run)
    assert counts == [30, 18]
    dot = np.zeros((6, 8), np.uint8, order='F')
    dot[5, 0] = 1
    packed = {'size': [6, 8], 'counts': rle_codec.encode(dot)['counts'].decode()}
    return dict(
        info={},
        images=[
            dict(id=9, file_name='COCO_val2014_000000000009.jpg', **SIZE),
            dict(id=3, file_name='COCO_val2014_000000000003.jpg', **SIZE),
            dict(id=4, file_name='COCO_val2014_000000000004.jpg', **SIZE),
        ],
        annotations=[
            item(9, 62, [box(1, 1, 3, 3)]),  # small, before the large one that covers it
            item(9, 90, [box(0, 0, 6, 4)]),
            item(9, 1, {'size': [6, 8], 'counts': counts}, crowd=1),
            item(9, 1, packed),
            item(3, 1, [box(0, 0, 2, 2), box(4, 4, 6, 6)]),
            item(3, 62, [box(4, 0, 6, 2)]),
            item(3, 90, [box(5, 0, 7, 2)]),  # as large as the one before: on top
            item(3, 90, [[1, 1, 2, 2], []]),  # no area
            item(3, 62, []),
        ],
        categories=[dict(id=90, name='toothbrush'), dict(id=1, name='person'), dict(id=62, name='chair')],
    )


@pytest.fixture
def root(tmp_path):
    write(tmp_path, content())
    return tmp_path


def write(root, value, split='tiny'):
    (root / 'annotations').mkdir(exist_ok=True)
    (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(value))


def run(tool, root, split='tiny', workers=0):
    return tool.main([str(root), '--splits', split, '--workers', str(workers)])


NINE = [
    [3, 3, 3, 3, 3, 3, 255, 255],
    [3, 2, 2, 3, 3, 3, 255, 255],
    [3, 2, 2, 3, 3, 3, 255, 255],
    [3, 3, 3, 3, 3, 3, 255, 255],
    [0, 0, 0, 0, 0, 255, 255, 255],
    [1, 0, 0, 0, 0, 255, 255, 255],
]
THREE = [
    [1, 1, 0, 0, 2, 3, 3, 0],
    [1, 1, 0, 0, 2, 3, 3, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 1, 1, 0, 0],
    [0, 0, 0, 0, 1, 1, 0, 0],
]


def test_masks_and_list(tool, root, capsys):
    assert run(tool, root) == 0
    assert (root / 'tiny.txt').read_bytes() == b'COCO_val2014_000000000003\nCOCO_val2014_000000000009\n'
    paths = sorted((root / 'masks' / 'tiny').iterdir())
    assert [path.name for path in paths] == ['COCO_val2014_000000000003.png', 'COCO_val2014_000000000009.png']
    masks = [Image.open(path) for path in paths]
    assert [mask.mode for mask in masks] == ['P', 'P']
    assert masks[0].getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert np.array(masks[0]).tolist() == THREE
    assert np.array(masks[1]).tolist() == NINE
    out = capsys.readouterr().out
    assert f'{root}/masks/tiny: 2 masks written' in out
    assert '2 images; ids 1..3 are person, chair, toothbrush' in out


def test_complete_masks_are_left_and_broken_ones_made_again(tool, root, capsys):
    assert run(tool, root) == 0
    three, nine = sorted((root / 'masks' / 'tiny').iterdir())
    whole = nine.read_bytes()
    changed = np.zeros((6, 8), np.uint8)
    mask = Image.fromarray(changed)
    mask.putpalette([0] * 768)
    mask.save(three)
    nine.write_bytes(whole[:-20])  # the checksum of the last chunk is gone
    assert run(tool, root) == 0
    assert '1 masks written' in capsys.readouterr().out
    assert np.array(Image.open(three)).tolist() == changed.tolist()
    assert nine.read_bytes() == whole
    mask.resize((3, 3)).save(three)
    assert run(tool, root) == 0
    assert np.array(Image.open(three)).tolist() == THREE


def test_the_counts_of_coco_are_known(tool, root, capsys):
    write(root, content(), split='val2014')
    assert run(tool, root, split='val2014') == 1
    error = capsys.readouterr().err
    assert '2 and 3, val2014 of COCO has 40,137 images with annotations and 80 categories' in error
    assert error.endswith(f'{root}/val2014.txt is not written\n')
    assert not (root / 'val2014.txt').exists()
    assert tool.KNOWN['train2014'] == (82081, 80)


def test_segmentations_that_are_none_are_named_at_once(tool, root, capsys):
    bad = content()
    bad['annotations'] += [
        item(9, 1, [[1, 1, 2, 2, 3]]),
        item(3, 1, {'size': [8, 6], 'counts': [48]}),
    ]
    write(root, bad)
    assert run(tool, root) == 1
    error = capsys.readouterr().err
    path = f'{root}/annotations/instances_tiny.json'
    assert f'{path}: annotations[9]: the segmentation cannot be read: a polygon with an odd number' in error
    assert f'{path}: annotations[10]: the segmentation cannot be read: run lengths for height and width [8, 6]' in error
    assert not (root / 'tiny.txt').exists()
    assert not list((root / 'masks').rglob('*.png'))


@pytest.mark.parametrize(
    ('segmentation', 'text'),
    [
        ({'size': [6, 8], 'counts': [40, 9]}, 'run lengths of 49 pixels, the image has 48'),
        ([[0, 0, 1, float('nan'), 2, 2]], 'a coordinate that is not a number'),
        ({'size': [6, 8]}, "cannot be read: 'counts'"),
    ],
)
def test_a_segmentation_that_is_none(tool, root, capsys, segmentation, text):
    bad = content()
    bad['annotations'].append(item(9, 1, segmentation))
    write(root, bad)
    assert run(tool, root) == 1
    assert text in capsys.readouterr().err


def test_what_is_no_annotation_file(tool, root, capsys):
    bad = content()
    bad['annotations'] += [item(77, 1, []), item(9, 2, [])]
    bad['images'].append(dict(id=9, file_name='../x.jpg', **SIZE))
    bad['images'][1]['file_name'] = '../x.jpg'
    write(root, bad)
    assert run(tool, root) == 1
    error = capsys.readouterr().err
    assert 'annotations[9]: image_id 77 or category_id 1 is not in the file' in error
    assert 'annotations[10]: image_id 9 or category_id 2 is not in the file' in error
    assert 'images[3]: the id 9 belongs to two images' in error
    assert "'../x.jpg' leaves the image folder" in error
    (root / 'annotations' / 'instances_tiny.json').write_text('{"images": []}')
    assert run(tool, root) == 1
    assert "no instance annotations of COCO: KeyError('categories')" in capsys.readouterr().err
    assert run(tool, root, split='gone') == 1
    assert f'{root}/annotations/instances_gone.json: No such file or directory' in capsys.readouterr().err


def test_an_object_is_no_crowd_where_nothing_says_so(tool, root):
    value = content()
    for entry in value['annotations']:
        if not entry['iscrowd']:
            del entry['iscrowd']
    write(root, value)
    assert run(tool, root) == 0
    assert np.array(Image.open(root / 'masks/tiny/COCO_val2014_000000000009.png')).tolist() == NINE


@pytest.mark.parametrize(('count', 'status'), [(254, 0), (255, 1)])
def test_a_mask_has_ids_for_254_categories(tool, root, capsys, count, status):
    value = content()
    value['categories'] = [dict(id=i, name=f'thing {i}') for i in range(1, count + 1)]
    write(root, value)
    assert run(tool, root) == status
    assert ('255 categories, an 8-bit mask holds at most 254' in capsys.readouterr().err) == bool(status)


def test_two_images_of_one_name(tool, root, capsys):
    value = content()
    value['images'][1]['file_name'] = value['images'][0]['file_name']
    write(root, value)
    assert run(tool, root) == 1
    assert 'annotations[4]: a second image is called COCO_val2014_000000000009' in capsys.readouterr().err


def test_the_config_reads_what_is_written(tool, root, monkeypatch):
    """configs/_base_/datasets/coco14_tags.py in the paths that the converter writes."""
    cfg = Config.fromfile(TOOLS.parent / 'configs' / '_base_' / 'datasets' / 'coco14_tags.py')
    assert len(cfg.classes) == 80
    init_default_scope('mmseg')
    for split, loader in {'train2014': cfg.train_dataloader, 'val2014': cfg.val_dataloader}.items():
        value = content()
        value['categories'] = [
            dict(id=1, name='person'),
            *(dict(id=i, name=name) for i, name in enumerate(cfg.classes[1:], start=2)),
        ]
        for entry in value['annotations']:
            entry['category_id'] = {1: 1, 62: 70, 90: 80}[entry['category_id']]
        write(root, value, split=split)
        monkeypatch.setattr(tool, 'KNOWN', {})
        assert run(tool, root, split=split) == 0
        (root / split).mkdir()
        for image in value['images']:
            Image.new('RGB', (8, 6)).save(root / split / image['file_name'])
        settings = dict(loader.dataset, data_root=str(root), pipeline=[dict(type='LoadAnnotations')])
        if split == 'train2014':
            settings['pipeline'] = []
        dataset = DATASETS.build(settings)
        assert len(dataset) == 2  # the image without annotations is in no list
        sample = dataset[1]
        assert sample['gt_label'].tolist() == [0, 69, 79]
        if split == 'val2014':
            assert np.unique(sample['gt_seg_map']).tolist() == [0, 1, 70, 80, 255]
