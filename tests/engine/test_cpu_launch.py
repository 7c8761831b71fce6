"""What makes a config run on several CPU processes."""

import pytest
import torch

from mmseg_wsss.engine import finish_launch, is_first_process, prepare_cpu_launch


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


@pytest.mark.parametrize(
    ('launcher', 'variables', 'first'),
    [
        ('none', {'RANK': '1', 'SLURM_PROCID': '1'}, True),
        ('pytorch', {'RANK': '0', 'SLURM_PROCID': '1'}, True),
        ('pytorch', {'RANK': '1', 'SLURM_PROCID': '0'}, False),
        ('slurm', {'SLURM_PROCID': '0', 'RANK': '1'}, True),
        ('slurm', {'SLURM_PROCID': '10', 'RANK': '0'}, False),
    ],
)
def test_the_first_process_is_known_before_the_group(monkeypatch, launcher, variables, first):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process(launcher) is first
