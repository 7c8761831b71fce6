"""DuPL in the Runner at toy size: views from the pipeline, validation, a checkpoint, and going on from it."""

import copy

import pytest
import torch
from loss_recorder import read_losses
from mmengine.runner import Runner
from toy_runs import MODEL, toco_config

from mmseg_wsss import compat
from mmseg_wsss.checkpoints import checked

PARTS = ('data_preprocessor', 'backbone', 'cam_head', 'aux_cam_head', 'loss_ptc', 'refiner', 'decode_head', 'test_cfg')
DUPL = {name: MODEL[name] for name in PARTS} | {
    'type': 'DuPL',
    'loss_discrepancy': {'type': 'FeatureDiscrepancyLoss'},
    'loss_consistency': {'type': 'ConfidentConsistencyLoss', 'confidence': 0.0},
    'noise_filter': {'type': 'MixtureNoiseFilter', 'min_count': 5, 'min_gap': 0.0},
    'cam_thresholds': (0.3, 0.9),
    'end_thresholds': 0.4,
    'threshold_iters': 5,
    'starts': {'loss_seg': 2, 'noise_filter': 3, 'loss_consistency': 4, 'threshold': 1},
}
STRONG = {'strong_view': [{'type': 'StrongPhotometry'}]}


@pytest.mark.skipif(compat.uses_forks(), reason='the fork of mmengine draws other crops after resuming')
def test_a_training_its_metrics_and_going_on(tmp_path):
    cfg = toco_config(tmp_path)
    cfg.model = DUPL
    views = cfg.train_dataloader.dataset.pipeline[1]
    views.update(aligned=None, free=None, derived=STRONG)

    def train(name, **changes):
        own = copy.deepcopy(cfg)
        own.merge_from_dict({'work_dir': str(tmp_path / name), 'experiment_name': f'dupl-{tmp_path.name}-{name}'})
        own.merge_from_dict(changes)
        own.custom_hooks[1].folder = str(tmp_path / name / 'losses')
        runner = Runner.from_cfg(own)
        runner.train()
        return read_losses(tmp_path / name / 'losses'), runner

    whole, runner = train('whole')
    metrics = runner.val_loop.run()
    sources = dict.fromkeys(key.split('/')[0] for key in metrics)
    assert [*sources] == ['cam', 'cam_1', 'cam_2', 'cam_aux', 'cam_aux_1', 'cam_aux_2', 'seg']
    assert len({metrics[f'{source}/best_precision'] for source in ('cam_1', 'cam_2')}) == 2, 'the branches differ'
    assert [line['iter'] for line in whole if 'loss_consistency_2' in line] == [4, 5]
    assert whole[5]['loss_consistency_1'] > 0

    torch.manual_seed(12345)  # other draws than the first training goes on with
    resumed, resumed_runner = train('resumed', resume=True, load_from=checked(tmp_path / 'whole' / 'iter_3.pth'))
    assert resumed == whole[3:]
    expected, state = runner.model.state_dict(), resumed_runner.model.state_dict()
    assert state['_extra_state'] == 6
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0, msg=lambda text, key=key: f'{key}: {text}')
