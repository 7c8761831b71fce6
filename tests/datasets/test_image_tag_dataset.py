"""Images, tags, split list and masks brought together."""

import json
import tarfile

import numpy as np
import pytest
from drawn_voc import ANIMALS, draw_voc
from mmengine.dataset import ClassBalancedDataset, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from tagged_images import CLASSES, content, dataset_of, error_lines, make_images
from torch.utils.data import DataLoader

from mmseg_wsss.datasets import ImageTagDataset, voc_palette
from mmseg_wsss.datasets.image_labels import ImageLabelError

NONE_OF_THEM = {'type': 'TagFile', 'path': 'tags.json', 'ignore_tags': CLASSES}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture
def root(tmp_path):
    return make_images(tmp_path)


def test_a_folder_of_images_and_tags_is_enough(root):
    dataset = dataset_of(root)
    assert content(dataset) == [('a.jpg', [0]), ('b.JPG', [0, 1]), ('sub/c.png', [1])]
    info = dataset[1]
    assert info['gt_label'].dtype == np.int64
    assert info['gt_score'].dtype == np.float32
    assert info['gt_score'].tolist() == [1, 1]
    assert 'seg_map_path' not in info
    assert (info['label_map'], info['reduce_zero_label'], info['seg_fields']) == (None, False, [])
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog')
    assert dataset.metainfo['palette'] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


def test_untagged_images_by_config_and_in_the_log(root, monkeypatch):
    lines = []
    monkeypatch.setattr('mmseg_wsss.datasets.image_tag_dataset.print_log', lambda text, logger: lines.append(text))
    dataset_of(root)
    kept = dataset_of(root, untagged='background', classes=('cat', 'dog', 'cow'))
    assert lines == [
        'ImageTagDataset: 3 images, 1 without tags skipped; cat 2, dog 2',
        'ImageTagDataset: 4 images, 1 without tags kept as background; cat 2, dog 2; no image of cow',
    ]
    assert content(kept)[2] == ('d.jpg', [])
    assert kept[2]['gt_score'].tolist() == [0, 0, 0]


def test_evaluation_keeps_every_image(root, monkeypatch):
    """What a method finds on an image that shows none of the classes is wrong, and has to count."""
    lines = []
    monkeypatch.setattr('mmseg_wsss.datasets.image_tag_dataset.print_log', lambda text, logger: lines.append(text))
    dataset = dataset_of(root, test_mode=True)
    assert lines == ['ImageTagDataset: 4 images, 1 without tags kept as background; cat 2, dog 2']
    assert content(dataset)[2] == ('d.jpg', [])
    assert len(dataset_of(root, test_mode=True, classes=('cow',), image_labels=NONE_OF_THEM)) == 4


def test_split_list_and_masks(root):
    dataset = dataset_of(
        root,
        ann_file='split.txt',
        data_prefix={'img_path': 'images', 'seg_map_path': 'masks'},
        pipeline=[{'type': 'LoadAnnotations'}],
        test_mode=True,
    )
    assert content(dataset) == [('sub/c.png', [1]), ('b.JPG', [0, 1]), ('d.jpg', [])]
    assert dataset[0]['seg_map_path'] == f'{root}/masks/sub/c.png'
    assert dataset[0]['gt_seg_map'][0].tolist() == [1, 2, 255, 2, 0, 0]
    assert dataset[1]['gt_seg_map'][0].tolist() == [1, 2, 255, 1, 0, 0]


def test_images_of_which_nothing_is_known(root, monkeypatch):
    lines = []
    monkeypatch.setattr('mmseg_wsss.datasets.image_tag_dataset.print_log', lambda text, logger: lines.append(text))
    (root / 'tags.json').unlink()
    dataset = dataset_of(root, image_labels=None)
    infos = [dataset[i] for i in range(len(dataset))]
    assert [info['img_path'].split('/images/')[1] for info in infos] == ['a.jpg', 'b.JPG', 'd.jpg', 'sub/c.png']
    assert not any({'gt_label', 'gt_score'} & set(info) for info in infos)
    assert len(dataset_of(root, image_labels=None, ann_file='split.txt')) == 3
    assert lines[0] == 'ImageTagDataset: 4 images without labels'


@pytest.mark.parametrize('count', [1, 1000])
def test_one_class_and_a_thousand(root, count):
    """Any names, those of a background class among them are refused; ids and scores in the order of the names."""
    classes = ['Über, die "Brücke"', *(f'class {k:03}' for k in range(1, count))]
    tags = {'a': [classes[0]], 'b': classes, 'sub/c': [classes[-1]], 'd': []}
    (root / 'tags.json').write_text(json.dumps(tags))
    dataset = dataset_of(root, classes=classes, untagged='background')
    assert content(dataset) == [
        ('a.jpg', [0]),
        ('b.JPG', list(range(count))),
        ('d.jpg', []),
        ('sub/c.png', [count - 1]),
    ]
    assert dataset[3]['gt_score'].nonzero()[0].tolist() == [count - 1]
    assert dataset[1]['gt_score'].sum() == count
    assert dataset.metainfo['classes'] == ('background', *classes)
    assert len({tuple(colour) for colour in dataset.metainfo['palette']}) == count + 1
    with pytest.raises(ValueError, match="take 'background' out"):
        dataset_of(root, classes=['background', *classes])


def test_masks_below_the_images_are_not_images(root):
    (root / 'masks').rename(root / 'images' / 'masks')
    dataset = dataset_of(root, data_prefix={'img_path': 'images', 'seg_map_path': 'images/masks'})
    assert [name for name, _ in content(dataset)] == ['a.jpg', 'b.JPG', 'sub/c.png']


def test_all_problems_without_a_list_are_reported_at_once(root):
    (root / 'tags.json').write_text('{"a": ["cta"],\n"gone": ["dog"],\n"a.jpg": [],\n"sub/c": ["dog"]}')
    (root / 'images' / 'a.png').write_bytes((root / 'images' / 'sub' / 'c.png').read_bytes())
    assert error_lines(root) == [
        '6 problems with the image-level labels',
        'tag that is not a class (1):',
        f"  {root}/tags.json: 'a' has the tag 'cta' (did you mean 'cat'?)",
        "  -> correct 'cta' (did you mean 'cat'?)",
        'given twice (2):',
        f"  {root}/tags.json: 'a.jpg' is labelled already in {root}/tags.json",
        f'  {root}/images/a.png: has the same name as a.jpg',
        'listed image that is missing (1):',
        f"  {root}/tags.json: 'gone' is not in {root}/images",
        'image without an entry in the labels (2):',
        f"  {root}/images/b.JPG: 'b.JPG' has no entry (an image without tags has an empty one)",
        f"  {root}/images/d.jpg: 'd.jpg' has no entry (an image without tags has an empty one)",
    ]


def test_all_problems_with_a_list_are_reported_at_once(root):
    (root / 'split.txt').write_text('a\nd\nb\n\na.jpg\ngone\n../x\n')
    (root / 'tags.json').write_text('{"a": ["cat"], "d": []}')
    (root / 'masks' / 'd.png').unlink()
    masks = {'img_path': 'images', 'seg_map_path': 'masks'}
    assert error_lines(root, ann_file='split.txt', data_prefix=masks) == [
        '5 problems with the image-level labels',
        'given twice (1):',
        f"  {root}/split.txt:5: 'a.jpg' is listed already in line 1",
        'listed image that is missing (1):',
        f"  {root}/split.txt:6: 'gone' is not in {root}/images",
        'path that leaves the data set (1):',
        f"  {root}/split.txt:7: '../x' leaves the image folder: names are relative paths inside it",
        'image whose mask is missing (1):',
        f'  {root}/split.txt:2: {root}/masks/d.png',
        '  -> an image that is evaluated needs its mask: ann_file may list those that have one',
        'image without an entry in the labels (1):',
        f"  {root}/split.txt:3: 'b.JPG' has no entry (an image without tags has an empty one)",
    ]


def test_nothing_to_train_on(root):
    assert error_lines(root, data_prefix={'img_path': 'nowhere'})[-1] == f'  {root}/nowhere: no such folder of images'
    assert error_lines(root, ann_file='no.txt')[-1] == f'  {root}/no.txt: no such split list'
    assert error_lines(root, img_suffix='.bmp')[-1] == f'  {root}/images: no image with the extension .bmp'
    (root / 'split.txt').write_text('\n')
    assert error_lines(root, ann_file='split.txt')[-1] == f'  {root}/split.txt: lists no image'
    with pytest.raises(ValueError, match='no image has a tag among cow'):
        dataset_of(root, classes=('cow',), image_labels=NONE_OF_THEM)


def test_arguments_that_cannot_be(root):
    with pytest.raises(ValueError, match="untagged should be 'skip' or 'background', got 'drop'"):
        dataset_of(root, untagged='drop')
    with pytest.raises(ValueError, match='8-bit masks hold at most 254 classes, got 255'):
        dataset_of(
            root, classes=[str(k) for k in range(255)], data_prefix={'img_path': 'images', 'seg_map_path': 'masks'}
        )


def test_labels_are_read_when_the_dataset_is_built_unless_lazy(root):
    (root / 'tags.json').write_text('{}')
    lazy = dataset_of(root, lazy_init=True)
    assert lazy.metainfo['classes'] == ('background', *CLASSES)
    with pytest.raises(ImageLabelError, match=r'image without an entry in the labels \(4\)'):
        lazy.full_init()


def test_class_folders_serve_as_images_and_labels(tmp_path):
    for path in ('cat/a.png', 'dog/a.png', 'dog/b.png'):
        (tmp_path / 'images' / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4), path[-5:-4].replace('a', 'red').replace('b', 'blue')).save(tmp_path / 'images' / path)
    dataset = dataset_of(tmp_path, image_labels={'type': 'ClassFolders', 'root': 'images'})
    assert content(dataset) == [('cat/a.png', [0, 1]), ('dog/b.png', [1])]  # the copy dog/a.png is not trained twice


def test_palette_continues_that_of_voc():
    voc = DATASETS.get('PascalVOCDataset').METAINFO['palette']
    assert voc_palette(21) == voc
    assert voc_palette(256)[255] == [224, 224, 192]


def test_workers_subsets_and_class_balance(root):
    dataset = dataset_of(root, pipeline=[{'type': 'LoadImageFromFile'}])
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=pseudo_collate)
    (batch,) = [*loader]
    assert np.stack(batch['gt_score']).tolist() == [[1, 0], [1, 1], [0, 1]]
    assert batch['img'][2].shape == (4, 6, 3)
    assert dataset.get_subset([2, 0])[0]['gt_label'].tolist() == [1]
    assert len(dataset_of(root, indices=2)) == 2
    assert dataset.get_cat_ids(1) == [0, 1]
    assert len(ClassBalancedDataset(dataset, oversample_thr=1.0)) == 6


def test_unserialised_data_is_the_same(root):
    dataset = dataset_of(root, serialize_data=False)
    assert content(dataset) == content(dataset_of(root))
    assert dataset.get_cat_ids(1) == [0, 1]


@pytest.fixture(params=['drawn', 'real'])
def animals(request, tmp_path):
    """A folder with two lists of tagged images, and how many images and images of each class they have."""
    if request.param == 'drawn':
        return tmp_path, draw_voc(tmp_path)
    shared = request.getfixturevalue('shared')
    voc = 'VOCdevkit/VOC2012'
    lists = {
        'animals_train_aug': (3139, [1001, 263, 1180, 444, 682, 300]),
        'animals_val': (462, [119, 71, 128, 79, 106, 57]),
    }
    wanted = [f'{voc}/image_labels_animals.json', *(f'{voc}/ImageSets/Segmentation/{name}.txt' for name in lists)]
    with tarfile.open(shared / 'data' / 'voc12_animals' / 'val.tar') as tar:
        for member in wanted:
            tar.extract(member, tmp_path, filter='data')
    root = tmp_path / voc
    (root / 'JPEGImages').mkdir()
    for path in wanted[1:]:
        for name in (tmp_path / path).read_text().split():
            (root / 'JPEGImages' / f'{name}.jpg').touch()
    return root, lists


def test_counts_of_many_labels(animals):
    root, lists = animals
    for name, (images, counts) in lists.items():
        dataset = ImageTagDataset(
            classes=ANIMALS,
            data_root=str(root),
            data_prefix={'img_path': 'JPEGImages'},
            ann_file=f'ImageSets/Segmentation/{name}.txt',
            image_labels={'type': 'TagFile', 'path': 'image_labels_animals.json'},
            check_images=False,
        )
        assert len(dataset) == images
        assert sum(dataset[i]['gt_score'] for i in range(images)).tolist() == counts
