"""Two gloo processes compute what one process computes on the doubled batch."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loss_recorder import read_losses
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_wsss.engine import finish_launch, prepare_cpu_launch

ROOT = Path(__file__).parents[2]
WHOLE_IMAGE = [{'type': 'RandomPadCrop', 'crop_size': (64, 64)}]


@pytest.fixture
def same_draws_cfg(toy_cfg) -> Config:
    """Without draws that differ between processes: one crop per image, no dropout, every position of a local crop once.

    Plain gradient descent: Adam divides by the gradient's size and would blow rounding errors up.
    """
    views = toy_cfg.train_dataloader.dataset.pipeline[1]
    views.update(geometry=WHOLE_IMAGE, img=[], local_view=[], global_view=WHOLE_IMAGE)
    toy_cfg.model.update(local_crop_size=62, num_local_crops=4)
    toy_cfg.model.decode_head.dropout_ratio = 0.0
    toy_cfg.optim_wrapper.optimizer = {'type': 'SGD', 'lr': 0.1}
    toy_cfg.train_cfg.update(max_iters=5, val_interval=100)
    return toy_cfg


def _launch_two(cfg: Config, folder: Path) -> None:
    """What ``tools/dist_train.sh CONFIG 2`` runs, in a process group that ends with this function."""
    cfg.dump(folder / 'two.py')
    environment = {
        **os.environ,
        'PYTHON': sys.executable,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
    }
    command = [ROOT / 'tools' / 'dist_train.sh', folder / 'two.py', '2']
    # a session of its own, so that a timeout ends the processes that torchrun started too
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as launched:
        try:
            output, _ = launched.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            os.killpg(launched.pid, signal.SIGKILL)
            raise
    assert launched.returncode == 0, output


def test_two_processes_have_the_losses_of_the_doubled_batch(same_draws_cfg, tmp_path):
    two = same_draws_cfg
    one = Config(two.to_dict())
    one.train_dataloader.batch_size = 4
    one.custom_hooks[1].folder = str(tmp_path / 'one')
    one.work_dir = str(tmp_path / 'work_one')
    two.custom_hooks[1].folder = str(tmp_path / 'two')

    _launch_two(two, tmp_path)
    Runner.from_cfg(one).train()

    expected = read_losses(tmp_path / 'one')
    ranks = [read_losses(tmp_path / 'two', rank) for rank in (0, 1)]
    assert [len(lines) for lines in ranks] == [5, 5]
    assert {'loss_cls', 'loss_cls_aux', 'loss_ptc', 'loss_ctc', 'decode.loss_seg', 'loss'} < set(expected[-1])
    for iteration, losses in enumerate(expected):
        for name, value in losses.items():
            mean = sum(lines[iteration][name] for lines in ranks) / 2
            assert mean == pytest.approx(value, abs=1e-5), f'{name} at iteration {iteration}'
    assert expected[-1]['loss_ctc'] > 0.1, 'some crops are negative'
    assert ranks[0][-1]['loss_ptc'] != ranks[1][-1]['loss_ptc'], 'the processes read different images'
    assert abs(expected[-1]['loss'] - expected[2]['loss']) > 1e-3, 'the weights moved'


@pytest.mark.parametrize('stage', ['stage1_cfg', 'stage2_cfg', 'batch_threshold'])
def test_two_processes_train_the_stages_of_weaktr_as_one_does(stage, request, tmp_path):
    two = request.getfixturevalue('stage2_cfg' if stage == 'batch_threshold' else stage)
    pipeline = two.train_dataloader.dataset.pipeline
    two.train_dataloader.dataset.pipeline = [
        step for step in pipeline if step.type in ('LoadImage', 'LoadMask', 'PackWSSSInputs')
    ]
    two.optim_wrapper.optimizer = {'type': 'SGD', 'lr': 0.1}
    two.train_cfg.update(max_iters=3, val_interval=100)
    if stage == 'stage1_cfg':
        two.model.backbone.drop_path_rate = 0.0
    else:
        two.model.decode_head.dropout_ratio = 0.0
        two.model.decode_head.loss_decode.batch_threshold = stage == 'batch_threshold'
    one = Config(two.to_dict())
    one.train_dataloader.batch_size = 4
    one.custom_hooks[1].folder = str(tmp_path / 'one')
    one.work_dir = str(tmp_path / 'work_one')
    two.custom_hooks[1].folder = str(tmp_path / 'two')

    _launch_two(two, tmp_path)
    runner = Runner.from_cfg(one)
    runner.train()

    expected = read_losses(tmp_path / 'one')
    ranks = [read_losses(tmp_path / 'two', rank) for rank in (0, 1)]
    assert [len(lines) for lines in (expected, *ranks)] == [3, 3, 3]
    for iteration, losses in enumerate(expected):
        for name in filter(lambda name: 'loss' in name, losses):
            mean = sum(lines[iteration][name] for lines in ranks) / 2
            assert mean == pytest.approx(losses[name], abs=1e-5), f'{name} at iteration {iteration}'
    assert ranks[0][-1]['loss'] != ranks[1][-1]['loss'], 'the processes read different images'
    assert abs(expected[-1]['loss'] - expected[0]['loss']) > 1e-3, 'the weights moved'
    if stage != 'stage1_cfg':
        assert runner.model.decode_head.loss_decode.clipped.float().mean() > 0.1, 'pixels were clipped'


def test_cpu_launch_says_what_is_missing(toy_cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    toy_cfg.launcher = 'pytorch'
    with pytest.raises(RuntimeError, match='RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set: start this with'):
        prepare_cpu_launch(toy_cfg)
    toy_cfg.launcher = 'slurm'
    with pytest.raises(ValueError, match="launcher 'slurm' needs CUDA"):
        prepare_cpu_launch(toy_cfg)


def test_cpu_launch_changes_nothing_without_launcher_or_with_cuda(toy_cfg, monkeypatch):
    before = toy_cfg.to_dict()
    prepare_cpu_launch(toy_cfg)
    assert toy_cfg.to_dict() == before
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    toy_cfg.launcher = 'pytorch'
    prepare_cpu_launch(toy_cfg)
    assert toy_cfg.to_dict() == {**before, 'launcher': 'pytorch'}


def test_cpu_launch_wraps_for_no_device_and_reverts_sync_bn(toy_cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '0')
    toy_cfg.launcher = 'pytorch'
    toy_cfg.model.decode_head.norm_cfg = {'type': 'SyncBN', 'requires_grad': True}
    toy_cfg.model.auxiliary_head = [{'type': 'FCNHead', 'norm_cfg': {'type': 'SyncBN'}}]
    prepare_cpu_launch(toy_cfg)
    assert toy_cfg.model.decode_head.norm_cfg == {'type': 'BN', 'requires_grad': True}
    assert toy_cfg.model.auxiliary_head[0].norm_cfg.type == 'BN'
    assert toy_cfg.model_wrapper_cfg == {
        'type': 'MMDistributedDataParallel',
        'device_ids': None,
        'broadcast_buffers': False,
        'find_unused_parameters': True,
    }


def test_finish_launch_closes_the_process_group_and_without_one_does_nothing(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    finish_launch()
    assert not torch.distributed.is_initialized()
    finish_launch()
