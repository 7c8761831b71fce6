"""tools/analysis_tools/mask_iou.py: rates counted by hand, and what is missing."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import METRICS

from mmseg_wsss.datasets.mask_files import write_mask
from mmseg_wsss.pseudo_labels import Manifest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    spec = importlib.util.spec_from_file_location('mask_iou', ROOT / 'tools' / 'analysis_tools' / 'mask_iou.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    Manifest(tmp_path, {'classes': ['background', 'cat', 'dog']}).write({})
    for name, prediction, ground_truth in (('a/1', [[0, 1, 1, 1]], [[0, 0, 1, 255]]), ('2', [[0, 0]], [[0, 1]])):
        write_mask(tmp_path / 'SegmentationClass' / f'{name}.png', np.array(prediction))
        write_mask(tmp_path / 'ground_truth' / f'{name}.png', np.array(ground_truth))
    masks = str(tmp_path / 'ground_truth')
    return lambda *options, folder=tmp_path: module.main([str(folder), masks, *map(str, options)])


def test_rates_by_hand(run, tmp_path, capsys):
    run()
    record = json.loads((tmp_path / 'iou.json').read_text())
    # background: 2 right, 1 missed, 1 wrong; cat: 1 right, 1 missed, 1 wrong; dog nowhere
    assert record['masks'] == 2
    assert record['mIoU'] == pytest.approx(100 * (2 / 4 + 1 / 3) / 2)
    assert record['IoU'] == {'background': pytest.approx(50), 'cat': pytest.approx(100 / 3), 'dog': None}
    assert record['precision'] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert record['recall'] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert '2 masks, mIoU 41.67 over 2 classes' in capsys.readouterr().out


def test_a_split_chooses(run, tmp_path):
    (tmp_path / 'split.txt').write_text('a/1\n\n')
    run('--split', tmp_path / 'split.txt')
    record = json.loads((tmp_path / 'iou.json').read_text())
    assert (record['masks'], record['mIoU']) == (1, 50.0)


def test_the_folder_of_a_test_and_any_other(run, tmp_path, capsys):
    """Masks without a manifest: the names of their ids are in labelmap.txt, or on the command line."""
    (tmp_path / 'manifest.json').unlink()
    with pytest.raises(ValueError, match=r'has neither manifest\.json nor labelmap\.txt, .*: give --classes'):
        run()
    run('--classes', 'cat', 'dog')
    assert '2 masks, mIoU 41.67 over 2 classes' in capsys.readouterr().out
    writer = METRICS.build(dict(type='MaskWriter', out_dir=str(tmp_path / 'flat'), img_root='images'))
    writer.dataset_meta = {'classes': ('background', 'cat', 'dog')}
    for name, mask in (('a/1', [[0, 1, 1, 1]]), ('2', [[0, 0]])):
        sample = {'img_path': f'images/{name}.jpg', 'pred_sem_seg': {'data': torch.tensor(mask)[None]}}
        writer.process({}, [sample])
    writer.evaluate(2)
    run(folder=tmp_path / 'flat')
    assert '2 masks, mIoU 41.67 over 2 classes' in capsys.readouterr().out
    assert json.loads((tmp_path / 'flat' / 'iou.json').read_text())['mIoU'] == pytest.approx(125 / 3)


def test_ids_that_mean_something_else_are_refused(run, tmp_path):
    (tmp_path / 'ground_truth' / 'labelmap.txt').write_text(
        'background:0,0,0::\ndog:1,1,1::\ncat:2,2,2::\nignore:3,3,3::\n'
    )
    with pytest.raises(ValueError, match='ground_truth: holds masks of the classes background, dog, cat, not'):
        run()
    (tmp_path / 'ground_truth' / 'labelmap.txt').write_text('dog:1,1,1::\n')
    with pytest.raises(ValueError, match=r"labelmap\.txt: begins with 'dog', but id 0 is background"):
        run()


def test_what_does_not_fit(run, tmp_path):
    write_mask(tmp_path / 'ground_truth' / '3.png', np.array([[0]]))
    with pytest.raises(FileNotFoundError, match=r'1 masks are missing: .*SegmentationClass/3\.png'):
        run()
    write_mask(tmp_path / 'SegmentationClass' / '3.png', np.array([[0, 0]]))
    with pytest.raises(ValueError, match=r'3\.png is \(1, 2\), .*ground_truth/3\.png is \(1, 1\)'):
        run()
    write_mask(tmp_path / 'SegmentationClass' / '3.png', np.array([[0]]))
    write_mask(tmp_path / 'ground_truth' / '3.png', np.array([[7]]))
    with pytest.raises(ValueError, match=r'ground_truth/3\.png: the ground truth has the ids \[7\]'):
        run()
