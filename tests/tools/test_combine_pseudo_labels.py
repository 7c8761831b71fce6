"""tools/combine_pseudo_labels.py: pixels by hand, what is written, continued and refused."""

import json

import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.datasets.mask_files import write_mask
from mmseg_wsss.pseudo_labels import Manifest, agreed, highest_mean, write_soft_scores

CLASSES = ['background', 'cat', 'dog']
# the same two pixels wide and three high, by two networks
FIRST, SECOND = np.array([[0, 1], [2, 255], [1, 0]]), np.array([[0, 2], [2, 1], [1, 255]])
SCORES = {
    # the second network knows no dog on the image
    'one': (np.array([0, 2]), np.array([[[0.5, 0.2]], [[0.4, 0.6]]])),
    'two': (np.array([0, 1]), np.array([[[0.1, 0.3]], [[0.8, 0.7]]])),
}


@pytest.fixture
def tool():
    return load_tool('combine_pseudo_labels.py')


def write(folder, masks, scores=None, classes=CLASSES):
    Manifest(folder, {'classes': classes, 'palette': [[0, 0, 0], [9, 8, 7], [6, 5, 4]], 'from': folder.name}).write({})
    for name, mask in masks.items():
        write_mask(folder / 'SegmentationClass' / f'{name}.png', mask)
        if scores is not None:
            write_soft_scores(folder / 'SoftScores' / f'{name}.npz', *scores)
    return str(folder)


def read(path):
    with Image.open(path) as mask:
        assert mask.getpalette()[3:6] == [9, 8, 7]
        return np.array(mask).tolist()


def test_pixels_by_hand():
    assert agreed([FIRST, SECOND]).tolist() == [[0, 255], [2, 255], [1, 255]]
    assert agreed([FIRST, FIRST, SECOND]).tolist() == [[0, 255], [2, 255], [1, 255]]
    # means of the left pixel: 0.3, 0.4, 0.2; of the right one: 0.25, 0.35, 0.3
    assert highest_mean([*SCORES.values()]).tolist() == [[1, 1]]
    assert highest_mean([SCORES['one'], SCORES['one'], SCORES['two']]).tolist() == [[0, 2]], 'dog: 0.4 against 0.23'
    tie = (np.array([0, 5]), np.full((2, 1, 1), 0.5))
    assert highest_mean([tie, tie]).tolist() == [[0]]


def test_where_all_agree(tool, tmp_path, capsys):
    one, two = (write(tmp_path / name, {'sub/a': mask}) for name, mask in (('one', FIRST), ('two', SECOND)))
    out = tmp_path / 'out'
    tool.main([one, two, '--out', str(out)])
    assert read(out / 'SegmentationClass/sub/a.png') == [[0, 255], [2, 255], [1, 255]]
    assert json.loads((out / 'manifest.json').read_text())['settings']['classes'] == CLASSES
    before = (out / 'SegmentationClass/sub/a.png').stat().st_mtime_ns
    tool.main([one, two, '--out', str(out)])
    assert (out / 'SegmentationClass/sub/a.png').stat().st_mtime_ns == before
    assert '0 masks written' in capsys.readouterr().out
    with pytest.raises(ValueError, match='was made with other settings'):
        tool.main([one, two, '--out', str(out), '--mean'])


def test_mean_of_the_soft_scores(tool, tmp_path):
    folders = [write(tmp_path / name, {'a': np.zeros((1, 2), int)}, scores) for name, scores in SCORES.items()]
    tool.main([*folders, '--mean', '--out', str(tmp_path / 'out')])
    assert read(tmp_path / 'out/SegmentationClass/a.png') == [[1, 1]]
    assert json.loads((tmp_path / 'out/report.json').read_text())['written'] == 1


def test_folders_that_do_not_belong_together(tool, tmp_path, capsys):
    one = write(tmp_path / 'one', {'a': FIRST})
    other_images, other_classes = (
        write(tmp_path / 'b', {'b': FIRST}),
        write(tmp_path / 'c', {'a': FIRST}, classes=['background', 'cow']),
    )
    with pytest.raises(ValueError, match='have different images: a, b'):
        tool.main([one, other_images, '--out', str(tmp_path / 'out')])
    with pytest.raises(ValueError, match='c has the classes background, cow, '):
        tool.main([one, other_classes, '--out', str(tmp_path / 'out')])
    with pytest.raises(SystemExit):
        tool.main([one, '--out', str(tmp_path / 'out')])
    assert 'give two folders or more' in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r'SoftScores/a\.npz'):
        tool.main([one, one, '--mean', '--out', str(tmp_path / 'out')])
