"""tools/analysis_tools/report.py on random networks: which numbers, losses and images the page has, in which order."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool

METRICS = {'cam/mIoU': 40.04, 'cam/best_mIoU': 45.0, 'cam/best_threshold': 0.47, 'seg/mIoU': 30.26, 'seg/images': 3}


@pytest.fixture(scope='module')
def tool():
    return load_tool('analysis_tools/report.py')


@pytest.fixture
def work(toy, tmp_path):
    """The folder of a training that was resumed once and tested."""
    work = tmp_path / 'work'
    work.mkdir()
    shutil.copy(toy / 'toy.py', work)
    shutil.copy(toy / 'toy.pth', work / 'iter_40.pth')
    (work / 'last_checkpoint').write_text('/elsewhere/iter_40.pth')
    ious = {'cam': {'background': 60.0, 'cat': 20.08}, 'seg': {'background': 50.0, 'cat': None}}
    (work / 'test.json').write_text(json.dumps({'metrics': METRICS, 'IoU': ious}))
    logs = {'1': [(20, 3.0), (40, 9.0)], '2': [(40, 1.0)]}
    for name, values in logs.items():
        lines = [json.dumps({'iter': at, 'loss': loss}) for at, loss in values] + ['{"seg/mIoU": 3.0, "step": 40}']
        (work / name / 'vis_data').mkdir(parents=True)
        (work / name / 'vis_data' / 'scalars.json').write_text('\n'.join(lines))
    return work


def mean_iou(mask, truth):
    """Over the classes that are in the mask or the ground truth, pixel by pixel."""
    kept = truth != 255
    ious = [
        ((mask == k) & (truth == k) & kept).sum() / (((mask == k) | (truth == k)) & kept).sum()
        for k in range(3)
        if (((mask == k) | (truth == k)) & kept).any()
    ]
    return 100 * np.mean(ious)


def test_images_are_the_worst_first(tool, toy, work, capsys):
    report = tool.make_report(tool.parse_args([str(work), '--samples', '0']))
    assert report.about == ['toy.py: iter_40.pth']
    assert report.losses == {'Losses': [{'iter': 20, 'loss': 3.0}, {'iter': 40, 'loss': 1.0}]}, 'the resumed one counts'
    found = {picture.name: picture for picture in report.pictures}
    assert sorted(found) == ['0.png', '1.png', '2.png']
    assert [picture.iou for picture in report.pictures] == sorted(picture.iou for picture in report.pictures)
    for name, picture in found.items():
        truth = np.array(Image.open(toy / 'masks' / name))
        np.testing.assert_array_equal(picture.truth, truth)
        np.testing.assert_array_equal(picture.photo, np.array(Image.open(toy / 'images' / name)))
        assert picture.iou == pytest.approx(mean_iou(picture.prediction, truth))
    assert found['1.png'].tags == ['cat', 'dog']
    assert (found['0.png'].cam[1] == 0).all(), 'dog is no tag of it'


def test_tables(tool, work):
    tables = tool.make_report(tool.parse_args([str(work), '--samples', '0', '--num', '1'])).tables
    assert tables == {
        'Tests, in %': [
            ['', 'mIoU', 'precision', 'recall', 'best mIoU', 'best threshold', 'images'],
            ['test: cam', '40.0', '', '', '45.0', '0.47', ''],
            ['test: seg', '30.3', '', '', '', '', '3'],
        ],
        'IoU per class, in %': [
            ['class', 'test: cam', 'test: seg'],
            ['background', '60.0', '50.0'],
            ['cat', '20.1', ''],
        ],
    }


def test_labels_and_both_stages(tool, work, tmp_path):
    """The first stage gives CAM and pseudo-label at the labels' threshold, the second the prediction."""
    both = tmp_path / 'both'
    for stage in ('cam', 'seg'):
        shutil.copytree(work, both / stage)
    (both / 'labels').mkdir()
    (both / 'labels/manifest.json').write_text(json.dumps({'found': {}, 'settings': {'threshold': 0.9}}))
    (both / 'labels/iou.json').write_text('{"mIoU": 61.26}')
    report = tool.make_report(tool.parse_args([str(both), '--samples', '0', '--num', '1']))
    assert report.tables['Pseudo-labels, in %'] == [['mIoU'], ['61.3']]
    assert [row[0] for row in report.tables['Tests, in %'][1:]] == [
        f'{s} test: {k}' for s in ('cam', 'seg') for k in ('cam', 'seg')
    ]
    assert [*report.losses] == ['Losses cam', 'Losses seg']
    (picture,) = report.pictures
    cam = picture.cam
    np.testing.assert_array_equal(picture.label, np.where(cam.max(0) > 0.9, cam.argmax(0) + 1, 0))
    args = tool.parse_args([str(both), '--samples', '0', '--num', '1', '--threshold', '0.2'])
    (picture,) = tool.make_report(args).pictures
    np.testing.assert_array_equal(picture.label, np.where(cam.max(0) > 0.2, cam.argmax(0) + 1, 0))


def test_a_test_at_several_scales_leaves_the_config_of_the_training(tool, work):
    """Its own config has another network and pipeline."""
    before = (work / 'toy.py').read_bytes()
    arguments = [str(work / 'toy.py'), str(work / 'iter_40.pth'), '--work-dir', str(work), '--tta']
    load_tool('test.py').main([*arguments, '--cfg-options', 'test_dataloader.dataset.indices=1'])
    assert (work / 'toy.py').read_bytes() == before
    assert (work / 'toy_test_tta.py').is_file()
    report = tool.make_report(tool.parse_args([str(work), '--samples', '0']))
    assert len(report.pictures) == 3
    assert all(picture.cam is not None for picture in report.pictures)


def test_the_file_and_one_without_photographs(tool, work, tmp_path, capsys):
    tool.main([str(work), '--samples', '0'])
    written = (work / 'report.html').read_text()
    assert re.search(r'3 images, \d+ KiB: \S+/work/report\.html', capsys.readouterr().out)
    assert written.count('<figure>') == 3
    assert 'image/jpeg' in written
    tool.main([str(work), '--no-photos', '--out', str(tmp_path / 'new/maps.html')])
    without = (tmp_path / 'new/maps.html').read_text()
    assert without.count('<figure>') == 3
    assert 'image/jpeg' not in without
    assert 'class="sample"' not in without


def test_what_is_not_there(tool, work, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.main(['nowhere'])
    assert 'there is no nowhere' in capsys.readouterr().err
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'empty has no config: give the --work-dir of tools/train\.py'):
        tool.main([str(tmp_path / 'empty')])
    Path(work / 'last_checkpoint').unlink()
    report = tool.make_report(tool.parse_args([str(work), '--samples', '0']))
    assert (report.about, report.pictures) == (['toy.py: no checkpoint'], [])
