"""PseudoMaskDataset: what a sample holds, and that everything wrong with the masks is told at once."""

import json
import pickle

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmseg_wsss.datasets.image_labels.problems import PseudoMaskError
from mmseg_wsss.datasets.mask_files import write_mask

CLASSES = ('cat', 'dog')


def build(root, **kwargs):
    settings = dict(
        type='PseudoMaskDataset',
        data_root=str(root),
        classes=CLASSES,
        data_prefix=dict(img_path='images'),
        mask_dir=str(root / 'out' / 'SegmentationClass'),
    )
    return DATASETS.build({**settings, **kwargs})


def lines_of(root, **kwargs) -> list[str]:
    with pytest.raises(PseudoMaskError) as caught:
        build(root, **kwargs)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # a worker hands it over
    return str(caught.value).replace(str(root), 'ROOT').splitlines()


@pytest.fixture
def root(tmp_path):
    """Three images 6x4 (one in a sub-folder, one stored on its side) and their masks."""
    for name in ('a', 'b', 'sub/c'):
        path = tmp_path / 'images' / f'{name}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (6, 4), 'red').save(path)
        write_mask(tmp_path / 'out' / 'SegmentationClass' / f'{name}.png', np.array([[0, 1, 2, 255, 0, 1]] * 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (4, 6), 'red').save(tmp_path / 'images' / 'b.jpg', exif=exif)
    return tmp_path


def test_a_sample_holds_its_files(root):
    (root / 'split.txt').write_text('sub/c\na.jpg\n')
    dataset = build(root, ann_file='split.txt')
    first = dataset[0]
    assert [first['img_path'], first['seg_map_path']] == [
        f'{root}/images/sub/c.jpg',
        f'{root}/out/SegmentationClass/sub/c.png',
    ]
    assert 'ground_truth_path' not in first
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog')
    assert len(dataset) == 2
    assert len(build(root)) == 3


def test_masks_go_through_the_pipeline_with_their_ground_truth(root):
    ground_truth = np.array([[2, 1, 0, 255, 0, 1]] * 4)
    for name in ('a', 'b', 'sub/c'):
        write_mask(root / 'true' / f'{name}.png', ground_truth)
    init_default_scope('mmseg')
    pipeline = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='LoadGroundTruth'),
        dict(type='Resize', scale=(12, 8), keep_ratio=True),
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomCrop', crop_size=(4, 6)),
        dict(type='PackWSSSInputs'),
    ]
    np.random.seed(3)
    sample = build(root, data_prefix=dict(img_path='images', ground_truth_path='true'), pipeline=pipeline)[0][
        'data_samples'
    ]
    pseudo, true = sample.gt_sem_seg.data[0].numpy(), sample.ground_truth.data[0].numpy()
    assert pseudo.shape == true.shape == (4, 6)
    # one cut-out of both: where the pseudo-mask says 0, 1, 2 the ground truth says 2 or 0, 1, 0
    flipped = np.repeat([1, 0, 255, 2, 1, 0], 2)
    both = np.repeat([1, 0, 255, 0, 1, 2], 2)
    starts = [i for i in range(7) if np.array_equal(flipped[i : i + 6], pseudo[0])]
    assert len(starts) == 1
    assert np.array_equal(true[0], both[starts[0] : starts[0] + 6])


def test_ground_truth_of_another_size_is_refused(root):
    write_mask(root / 'true' / 'a.png', np.zeros((3, 6)))
    init_default_scope('mmseg')
    load = TRANSFORMS.build(dict(type='LoadGroundTruth'))
    sample = dict(img_path='images/a.jpg', ori_shape=(4, 6), ground_truth_path=str(root / 'true/a.png'))
    with pytest.raises(ValueError, match=r'true/a\.png is 6 x 3 pixels but image images/a\.jpg is 6 x 4'):
        load(sample)
    assert load(dict(sample, ori_shape=(3, 6)))['ground_truth'].tolist() == [[0] * 6] * 3


def test_all_problems_are_reported_at_once(root):
    masks = root / 'out' / 'SegmentationClass'
    for name in ('d', 'e', 'f', 'g', 'h'):
        Image.new('RGB', (6, 4)).save(root / 'images' / f'{name}.jpg')
    (masks / 'a.png').unlink()
    write_mask(masks / 'd.png', np.zeros((6, 4)))
    write_mask(masks / 'e.png', np.array([[0, 3, 254, 255, 0, 0]] * 4))
    Image.new('RGB', (6, 4), 'red').save(masks / 'f.png')
    write_mask(masks / 'g.png', np.full((4, 6), 255))
    (masks / 'h.png').write_bytes((masks / 'g.png').read_bytes()[:100])
    images, png = 'ROOT/images', 'ROOT/out/SegmentationClass'
    lines = lines_of(root)
    assert lines[:2] == ['6 problems with the pseudo-masks', 'image whose mask is missing (1):']
    assert lines[2:4] == [
        f'  {images}/a.jpg: {png}/a.png',
        '  -> run tools/make_pseudo_labels.py again: it continues where it stopped',
    ]
    assert 'mask of another size than its image (1):' in lines
    assert f'  {images}/d.jpg: {png}/d.png is 4x6, {images}/d.jpg 6x4' in lines
    assert 'mask with ids that no class has (1):' in lines
    assert f'  {images}/e.jpg: {png}/e.png holds [3, 254]; there are 2 classes (ids 0..2)' in lines
    assert 'cannot be read (2):' in lines
    mode = f'  {images}/f.jpg: {png}/f.png: a mask of mode RGB; a palette or 8-bit gray PNG with a class id per pixel'
    assert any(line.startswith(mode) for line in lines)
    assert any(line.startswith(f'  {images}/h.jpg: {png}/h.png: ') for line in lines)
    assert 'mask without a labelled pixel (1):' in lines
    assert f'  {images}/g.jpg: {png}/g.png' in lines


def test_many_problems_of_a_kind_are_counted(root):
    for k in range(30):
        Image.new('RGB', (6, 4)).save(root / 'images' / f'z{k:02}.jpg')
    lines = lines_of(root)
    assert lines[1] == 'image whose mask is missing (30):'
    assert lines[22] == '  ... and 10 more'


def test_folders_and_lists_that_are_not_there(root):
    assert lines_of(root, mask_dir=str(root / 'nowhere'))[-1] == (
        '  ROOT/nowhere: no .png mask in it; make them with tools/make_pseudo_labels.py --out FOLDER and set mask_dir '
        'to FOLDER/SegmentationClass'
    )
    assert lines_of(root, ann_file='no.txt')[-1] == '  ROOT/no.txt: no such split list'
    (root / 'split.txt').write_text('a\ngone\n')
    assert lines_of(root, ann_file='split.txt')[1:] == [
        'listed image that is missing (1):',
        "  ROOT/split.txt:2: 'gone' is not in ROOT/images",
    ]


def test_masks_of_other_classes_are_known_by_their_manifest(root):
    classes = ['background', 'dog', 'cat']
    (root / 'out' / 'manifest.json').write_text(json.dumps({'settings': {'classes': classes}}))
    lines = lines_of(root)
    assert any(
        "manifest.json: the masks are of the classes ['background', 'dog', 'cat'], the data set has "
        "['background', 'cat', 'dog']" in line
        for line in lines
    )
    assert len(build(root, classes=('dog', 'cat'))) == 3


def test_a_missing_ground_truth_is_a_problem_of_its_own(root):
    lines = lines_of(root, data_prefix=dict(img_path='images', ground_truth_path='true'))
    assert lines[1:3] == ['image whose ground-truth mask is missing (3):', '  ROOT/images/a.jpg: ROOT/true/a.png']
    assert lines[-1] == '  -> it is only used for the log: data_prefix.ground_truth_path=None trains without it'


def test_arguments_that_cannot_be(root):
    with pytest.raises(ValueError, match='data_prefix has seg_map_path; the folder of the masks is mask_dir'):
        build(root, data_prefix=dict(img_path='images', seg_map_path='masks'))
    with pytest.raises(ValueError, match='8-bit masks hold at most 254 classes, got 255'):
        build(root, classes=[str(k) for k in range(255)])


def test_photos_of_a_telephone(root):
    """A name in macOS' form (two characters for an umlaut) finds its mask; a HEIC without a JPEG is named."""
    masks = root / 'out' / 'SegmentationClass'
    (root / 'images' / 'a.jpg').rename(root / 'images' / 'Mu\u0308he.jpg')
    (masks / 'a.png').rename(masks / 'Mu\u0308he.png')
    write_mask(root / 'true' / 'M\u00fche.png', np.zeros((4, 6)))
    (root / 'split.txt').write_text('M\u00fche.jpg\n')
    prefix = {'img_path': 'images', 'ground_truth_path': 'true'}
    info = build(root, ann_file='split.txt', data_prefix=prefix).get_data_info(0)
    assert info['seg_map_path'] == f'{masks}/Mu\u0308he.png'
    assert info['ground_truth_path'] == f'{root}/true/M\u00fche.png'
    (root / 'images' / 'Mu\u0308he.HEIC').touch()
    assert len(build(root)) == 3
    (root / 'images' / 'IMG_1.heic').touch()
    lines = lines_of(root)
    assert lines[1:3] == ['photo in a format that is not read (1):', '  ROOT/images/IMG_1.heic']
    assert lines[3].startswith('  -> convert them to JPEG, with `sips')
