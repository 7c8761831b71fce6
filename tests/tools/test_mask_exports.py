"""Masks for annotation tools: COCO's JSON as pycocotools reads it, and the layout of VOC."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.datasets.label_map import read_label_map
from mmseg_wsss.datasets.mask_files import write_mask

CLASSES = ('background', 'cat', 'dog')
SIZE = (120, 160)


def blobs() -> np.ndarray:
    """A disc with a hole in which another class lies, a disc cut by the border, a bar, ignored pixels."""
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (60, 60), 40, 1, -1)
    cv2.circle(mask, (50, 60), 14, 0, -1)
    cv2.circle(mask, (50, 60), 7, 2, -1)
    cv2.circle(mask, (78, 60), 9, 0, -1)
    cv2.circle(mask, (155, 10), 25, 2, -1)
    mask[112:118, 20:150] = 1
    mask[0:10, 0:10] = 255
    return mask


@pytest.fixture
def folder(tmp_path):
    """Blobs, noise of single pixels (regions that touch at corners), and nothing but background."""
    noise = np.random.default_rng(0).choice([0, 0, 1, 2, 255], (20, 31)).astype(np.uint8)
    masks = {'sub/blobs': blobs(), 'noise': noise, 'nothing': np.zeros((3, 5), np.uint8)}
    for name, mask in masks.items():
        write_mask(tmp_path / 'masks' / f'{name}.png', mask)
        image = tmp_path / 'images' / f'{name}.jpg'
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', mask.shape[::-1]).save(image)
    (tmp_path / 'masks' / 'labelmap.txt').write_text('background:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n')
    return masks


def run(tmp_path, tool, out, *options):
    if tool == 'masks_to_coco':
        pytest.importorskip('pycocotools', reason='the extra `coco` is not installed')
    files = [tmp_path / 'masks', tmp_path / out, '--images', tmp_path / 'images', *options]
    return load_tool(f'dataset_converters/{tool}.py').main([str(value) for value in files])


def read_back(path) -> dict[str, dict[int, np.ndarray]]:
    """File name -> class id -> the union of its annotations."""
    coco = pytest.importorskip('pycocotools.coco').COCO(str(path))
    read = {}
    for image in coco.dataset['images']:
        parts = read.setdefault(image['file_name'], {1: [], 2: []})
        for entry in coco.imgToAnns[image['id']]:
            parts[entry['category_id']].append(coco.annToMask(entry))
        shape = (image['height'], image['width'])
        read[image['file_name']] = {
            i: np.any(np.stack([*found, np.zeros(shape, np.uint8)]), axis=0) for i, found in parts.items()
        }
    return read


def test_run_lengths_are_exact(folder, tmp_path, capsys):
    assert run(tmp_path, 'masks_to_coco', 'masks.json') == 0
    content = json.loads((tmp_path / 'masks.json').read_text())
    assert content['categories'] == [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]
    assert [(image['file_name'], image['width'], image['height']) for image in content['images']] == [
        ('noise.jpg', 31, 20),
        ('nothing.jpg', 5, 3),
        ('sub/blobs.jpg', 160, 120),
    ]
    read = read_back(tmp_path / 'masks.json')
    for name, mask in folder.items():
        for i in (1, 2):
            assert np.array_equal(read[f'{name}.jpg'][i], mask == i), (name, i)
    of_blobs = [entry for entry in content['annotations'] if entry['image_id'] == 3]
    assert [(entry['category_id'], entry['bbox'], entry['iscrowd']) for entry in of_blobs] == [
        (1, [20, 20, 81, 81], 0),
        (1, [20, 112, 130, 6], 0),
        (2, [130, 0, 30, 36], 0),
        (2, [43, 53, 15, 15], 0),
    ]
    assert sum(entry['area'] for entry in of_blobs) == (folder['sub/blobs'] % 255 > 0).sum()
    assert len({entry['id'] for entry in content['annotations']}) == len(content['annotations'])
    assert f'masks.json: 3 images, {len(content["annotations"])} annotations' in capsys.readouterr().out


def test_polygons_keep_holes_and_edges(folder, tmp_path):
    assert run(tmp_path, 'masks_to_coco', 'masks.json', '--polygons') == 0
    content = json.loads((tmp_path / 'masks.json').read_text())
    read = read_back(tmp_path / 'masks.json')['sub/blobs.jpg']
    for i in (1, 2):
        mask = folder['sub/blobs'] == i
        assert (read[i] & mask).sum() / (read[i] | mask).sum() >= 0.97, i
    of_blobs = [entry for entry in content['annotations'] if entry['image_id'] == 3]
    assert [len(entry['segmentation']) for entry in of_blobs] == [1] * 4
    assert (
        sum(len(entry['segmentation'][0]) for entry in of_blobs) <= 2 * 150
    )  # numbers, two per point; the outlines are 500 pixels long
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for e in of_blobs for polygon in e['segmentation']])
    assert (points.min(), *points.max(axis=0)) == (0, 160, 118)


def test_a_hole_is_joined_to_its_outline_by_a_line_walked_there_and_back():
    """The nearest corners are (9, 9) and (6, 6)."""
    coco_export = pytest.importorskip('mmseg_wsss.datasets.conversion.coco_export')
    outer = np.array([[0, 0], [9, 0], [9, 9], [0, 9]])
    hole = np.array([[4, 4], [4, 6], [6, 6], [6, 4]])
    walk = [[0, 0], [9, 0], [9, 9], [6, 6], [6, 4], [4, 4], [4, 6], [6, 6], [9, 9], [0, 9]]
    assert coco_export._joined(outer, hole).tolist() == walk


def test_polygons_of_single_pixels_are_not_lost(folder, tmp_path):
    assert run(tmp_path, 'masks_to_coco', 'masks.json', '--polygons') == 0
    read = read_back(tmp_path / 'masks.json')['noise.jpg']
    for i in (1, 2):
        mask = folder['noise'] == i
        assert (read[i] & mask).sum() / (read[i] | mask).sum() >= 0.97, i


def test_the_layout_of_voc(folder, tmp_path, capsys):
    assert run(tmp_path, 'masks_to_voc', 'voc') == 0
    root = tmp_path / 'voc'
    assert (root / 'ImageSets/Segmentation/default.txt').read_text() == 'noise\nnothing\nsub/blobs\n'
    table = read_label_map(root / 'labelmap.txt')
    assert table == {(0, 0, 0): 'background', (128, 0, 0): 'cat', (0, 128, 0): 'dog', (224, 224, 192): 'ignore'}
    names = dict(enumerate(CLASSES)) | {255: 'ignore'}
    for name, mask in folder.items():
        copied = root / 'JPEGImages' / f'{name}.jpg'
        assert copied.read_bytes() == (tmp_path / 'images' / f'{name}.jpg').read_bytes()
        colours = np.array(Image.open(root / 'SegmentationClass' / f'{name}.png').convert('RGB')).reshape(-1, 3)
        assert [table[tuple(c)] for c in colours.tolist()] == [names[i] for i in mask.ravel().tolist()]
    assert capsys.readouterr().out == f'{root}: 3 images\n'
    assert run(tmp_path, 'masks_to_voc', 'voc') == 1
    assert f'{root} is not empty: give another OUT' in capsys.readouterr().err


def test_an_export_is_read_again(folder, tmp_path):
    """By the converter of colours, and by mask_iou.py with its own labelmap.txt."""
    run(tmp_path, 'masks_to_voc', 'voc')
    tool = load_tool('dataset_converters/colour_masks.py')
    voc, back = tmp_path / 'voc', tmp_path / 'back'
    options = ['--colours', str(voc / 'labelmap.txt'), '--workers', '0']
    assert tool.main([str(voc / 'SegmentationClass'), str(back), *options]) == 0
    for name, mask in folder.items():
        assert np.array_equal(np.array(Image.open(back / f'{name}.png')), mask)
    load_tool('analysis_tools/mask_iou.py').main([str(voc), str(tmp_path / 'masks')])
    assert json.loads((voc / 'iou.json').read_text())['mIoU'] == 100


@pytest.mark.parametrize('tool', ['masks_to_coco', 'masks_to_voc'])
def test_everything_that_does_not_fit_is_told_at_once(folder, tmp_path, capsys, tool):
    (tmp_path / 'images' / 'nothing.jpg').unlink()
    Image.new('RGB', (9, 9)).save(tmp_path / 'images' / 'noise.jpg')
    write_mask(tmp_path / 'masks' / 'sub' / 'blobs.png', np.full(SIZE, 7))
    assert run(tmp_path, tool, 'out') == 1
    assert capsys.readouterr().err.splitlines() == [
        '3 problems with the data set',
        'mask of another size than its image (1):',
        f'  {tmp_path}/masks/noise.png is 31x20, {tmp_path}/images/noise.jpg 9x9',
        'listed image that is missing (1):',
        f'  {tmp_path}/masks/nothing.png: no image of this name in {tmp_path}/images',
        'mask with ids that no class has (1):',
        f'  {tmp_path}/masks/sub/blobs.png holds [7]; there are 2 classes (ids 0..2)',
        f'{tmp_path}/out{"/labelmap.txt" * (tool == "masks_to_voc")} is not written',
    ]
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'masks' / 'labelmap.txt').unlink()
    assert run(tmp_path, tool, 'out') == 1
    assert 'has neither manifest.json nor labelmap.txt, which say what the ids mean: give --classes' in (
        capsys.readouterr().err
    )
