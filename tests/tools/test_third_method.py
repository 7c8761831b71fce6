"""A method from outside of the package goes through every tool as it is: its CAMs, its loss, its threshold."""

import json
import sys

import numpy as np
import pytest
import third_method
import torch
from launch import ROOT, run_together
from loss_recorder import read_losses
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from PIL import Image
from tool_module import load_tool
from toy_runs import CLASSES, stage1_config, without_draws

from mmseg_wsss import compat

THRESHOLD = np.float32(0.3)  # the default of the method's class; no config names it


def make_config(folder):
    """Six iterations of it on the eight drawn images; two of them validate and test."""
    cfg = stage1_config(folder)
    cfg.model = third_method.MODEL
    cfg.custom_imports.imports.append('third_method')
    cfg.log_level = 'INFO'
    cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = cfg.val_dataloader, cfg.val_evaluator, {}
    return cfg


def train(path, work_dir, *options):
    """tools/train.py in this process; the losses of all iterations made in that folder."""
    values = [f'custom_hooks.1.folder={work_dir}/losses', f'experiment_name={work_dir}{"".join(options)}']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', ['', str(path), '--work-dir', str(work_dir), *options, '--cfg-options', *values])
        load_tool('train.py').main()
    return read_losses(work_dir / 'losses')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder of a training: config, images, ``work`` with losses and checkpoints."""
    folder = tmp_path_factory.mktemp('third')
    make_config(folder).dump(folder / 'third.py')
    train(folder / 'third.py', folder / 'work')
    return folder


@pytest.fixture(scope='module')
def cams(trained):
    """Its CAMs of the images by hand, of the classes that the tags name: CAM -> image -> (C, H, W)."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(trained / 'third.py').model).eval()
    model.load_state_dict(torch.load(trained / 'work' / 'iter_6.pth', weights_only=False)['state_dict'])
    maps = {'fused': {}, 'shallow': {}}
    for name, tags in json.loads((trained / 'data' / 'tags.json').read_text()).items():
        pixels = torch.from_numpy(np.array(Image.open(trained / 'data' / 'images' / name))).permute(2, 0, 1)
        present = np.array([kind in tags for kind in CLASSES], np.float32)[:, None, None]
        for key, cam in model.cams((pixels[None].float() - 120) / 60).items():
            maps[key][name] = cam[0].numpy() * present
    return maps


def label(cam, threshold=THRESHOLD):
    """Segmentation ids by a CAM (C, H, W)."""
    return np.where(cam.max(axis=0) > threshold, cam.argmax(axis=0) + 1, 0)


def mean_iou(predicted, ground_truth):
    """Percent, over the classes that either has."""
    pairs = [(predicted == k, ground_truth == k) for k in range(4)]
    return 100 * np.mean([(one & other).sum() / (one | other).sum() for one, other in pairs if (one | other).any()])


def read(folder, name):
    return np.array(Image.open(folder / name))


def test_training_has_its_losses(trained):
    losses = read_losses(trained / 'work' / 'losses')
    assert len(losses) == 6
    assert len({line['loss_agree'] for line in losses}) == 6
    assert min(line['loss_agree'] for line in losses) > 0
    assert ['decode.loss_ce' in line for line in losses] == [False] * 2 + [True] * 4
    assert ['loss_not_begun' in line for line in losses] == [True] * 2 + [False] * 4
    for line in losses:
        parts = sum(value for name, value in line.items() if 'loss_' in name)
        assert line['loss'] == pytest.approx(parts, abs=1e-5)


def test_test_tool_measures_its_cams(trained, cams, tmp_path):
    files = [trained / 'third.py', trained / 'work' / 'iter_6.pth', '--work-dir', tmp_path, '--out', tmp_path / 'masks']
    load_tool('test.py').main([*map(str, files), '--cfg-options', f'experiment_name={tmp_path}'])
    metrics = json.loads((tmp_path / 'test.json').read_text())['metrics']
    assert {key.split('/')[0] for key in metrics} == {'fused', 'shallow', 'seg'}
    names = [path.name for path in sorted((tmp_path / 'masks').glob('*.png'))]
    assert names == ['0.png', '1.png']
    ground_truth = np.stack([read(trained / 'data' / 'masks', name) for name in names])
    for key, maps in cams.items():
        own = [maps[name] for name in names]
        assert metrics[f'{key}/mIoU'] == pytest.approx(mean_iou(np.stack([*map(label, own)]), ground_truth), abs=0.006)
        steps = [np.stack([label(cam, np.float32(step / 100)) for cam in own]) for step in range(1, 100)]
        best = max(mean_iou(step, ground_truth) for step in steps)
        assert metrics[f'{key}/best_mIoU'] == pytest.approx(best, abs=0.006)
    assert metrics['fused/mIoU'] != pytest.approx(metrics['shallow/mIoU'], abs=0.1)
    masks = np.stack([read(tmp_path / 'masks', name) for name in names])
    assert metrics['seg/mIoU'] == pytest.approx(mean_iou(masks, ground_truth), abs=0.006)
    [log] = tmp_path.glob('*/*.log')
    for key in cams:
        assert f'per class results of {key} at threshold 0.3, ' in log.read_text()


def test_labels_and_page_are_of_its_first_cam(trained, cams, tmp_path, monkeypatch):
    files = [str(trained / 'third.py'), str(trained / 'work' / 'iter_6.pth')]
    assert load_tool('make_pseudo_labels.py').main([*files, '--out', str(tmp_path), '--images', 'train']) == 0
    written = {path.name: np.array(Image.open(path)) for path in (tmp_path / 'SegmentationClass').iterdir()}
    assert sorted(written) == [f'{number}.png' for number in range(8)]
    for name, mask in written.items():
        assert np.array_equal(mask, label(cams['fused'][name])), name
    assert set(np.unique(np.stack([*written.values()]))) == {0, 1, 2, 3}
    for other, threshold in (('shallow', THRESHOLD), ('fused', 0.5)):
        assert any((mask != label(cams[other][name], threshold)).any() for name, mask in written.items())

    tool = load_tool('analysis_tools/report.py')
    report = tool.make_report(tool.parse_args([str(trained / 'work'), '--num', '2']))
    assert sorted(picture.name for picture in report.pictures) == ['0.png', '1.png']
    for picture in report.pictures:
        np.testing.assert_array_equal(picture.cam, cams['fused'][picture.name])
        np.testing.assert_array_equal(picture.label, written[picture.name])
        np.testing.assert_array_equal(picture.truth, read(trained / 'data' / 'masks', picture.name))


@pytest.mark.skipif(compat.uses_forks(), reason='the fork of mmengine draws other crops after resuming')
def test_resumed_training_has_the_losses_of_the_uninterrupted_one(trained, tmp_path, monkeypatch):
    whole = read_losses(trained / 'work' / 'losses')
    agree = third_method.AgreementLoss.forward

    def stop_in_the_sixth(self, first, second):
        calls.append(0)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return agree(self, first, second)

    calls = []
    monkeypatch.setattr(third_method.AgreementLoss, 'forward', stop_in_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        train(trained / 'third.py', tmp_path)
    monkeypatch.undo()
    torch.manual_seed(12345)
    lines = train(trained / 'third.py', tmp_path, '--resume')
    assert lines == whole[:5] + whole[3:], 'five iterations, then on from the checkpoint of the third'


@pytest.mark.slow
def test_two_processes_are_one_with_the_whole_batch(tmp_path):
    for processes in (1, 2):
        cfg = without_draws(make_config(tmp_path))
        cfg.train_dataloader.batch_size = 4 // processes
        cfg.dump(tmp_path / f'{processes}.py')
    alone = train(tmp_path / '1.py', tmp_path / 'alone')
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    options = ['--launcher', 'pytorch', '--work-dir', tmp_path / 'both']
    folder = f'custom_hooks.1.folder={tmp_path}/both/losses'
    run_together([*torchrun, ROOT / 'tools' / 'train.py', tmp_path / '2.py', *options, '--cfg-options', folder])
    ranks = [read_losses(tmp_path / 'both' / 'losses', rank) for rank in (0, 1)]
    assert [len(lines) for lines in (alone, *ranks)] == [5] * 3
    for iteration, line in enumerate(alone):
        for name in filter(lambda name: 'loss' in name, line):
            mean = sum(lines[iteration][name] for lines in ranks) / 2
            assert mean == pytest.approx(line[name], abs=1e-5), f'{name} at iteration {iteration}'
    assert ranks[0][0]['loss'] != ranks[1][0]['loss'], 'the processes read different images'
    assert 'decode.loss_ce' in alone[-1]
