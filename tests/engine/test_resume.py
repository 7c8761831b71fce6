"""A training that was interrupted goes on as if it had not been."""

import copy

import pytest
import torch
from loss_recorder import read_losses
from mmengine.runner import Runner

from mmseg_wsss import compat
from mmseg_wsss.checkpoints import checked

pytestmark = pytest.mark.skipif(compat.uses_forks(), reason='the fork of mmengine draws other crops after resuming')


def _train(cfg, name: str, folder, **changes) -> tuple[list[dict], Runner]:
    """Run a copy of ``cfg`` with some values changed; its losses and the runner."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({'work_dir': str(folder / name), 'experiment_name': f'{folder.name}-{name}', **changes})
    cfg.custom_hooks[1].folder = str(folder / name / 'losses')
    runner = Runner.from_cfg(cfg)
    runner.train()
    return read_losses(folder / name / 'losses'), runner


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_training_has_the_losses_of_the_uninterrupted_one(toy_cfg, tmp_path, workers):
    toy_cfg.train_dataloader.num_workers = workers
    whole, runner = _train(toy_cfg, 'whole', tmp_path)
    # what a killed process leaves behind: a checkpoint in the middle; its other draws are of another seed
    checkpoint = checked(tmp_path / 'whole' / 'iter_3.pth')
    torch.manual_seed(12345)
    resumed, resumed_runner = _train(toy_cfg, 'resumed', tmp_path, resume=True, load_from=checkpoint)

    assert [line['iter'] for line in whole] == [0, 1, 2, 3, 4, 5]
    assert 'decode.loss_seg' not in whole[1]
    assert 'decode.loss_seg' in whole[2], 'the segmentation loss begins at iteration 2'
    assert any(line['loss_ctc'] > 0.1 for line in resumed), 'some crops are negative, so CTC depends on the draws'
    assert resumed == whole[3:]

    expected, state = runner.model.state_dict(), resumed_runner.model.state_dict()
    assert state['_extra_state'] == 6, 'iterations counted'
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0, msg=lambda text, key=key: f'{key}: {text}')
    teacher, student = state['projector.teacher.module.mlp.0.weight'], state['projector.student.mlp.0.weight']
    assert (teacher - student).abs().max() > 1e-4, 'the teacher lags behind, so equality above is no accident'


@pytest.mark.slow
@pytest.mark.parametrize('method', ['seco_cfg', 'stage1_cfg', 'stage2_cfg'])
def test_resumed_trainings_of_other_methods(method, request, tmp_path):
    cfg = request.getfixturevalue(method)
    whole, runner = _train(cfg, 'whole', tmp_path)
    torch.manual_seed(12345)
    checkpoint = checked(tmp_path / 'whole' / 'iter_3.pth')
    resumed, resumed_runner = _train(cfg, 'resumed', tmp_path, resume=True, load_from=checkpoint)
    assert len(whole) == 6
    assert len({line['loss'] for line in whole}) == 6
    assert resumed == whole[3:]
    state = resumed_runner.model.state_dict()
    for key, value in runner.model.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0, msg=lambda text, key=key: f'{key}: {text}')
