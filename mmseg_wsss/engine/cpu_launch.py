"""Several processes: their start without CUDA, which mmengine's Runner does not support, and their common end."""

import os

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict


def prepare_cpu_launch(cfg: Config) -> None:
    """Make ``cfg`` run under ``torchrun`` on CPUs; a no-op with CUDA or without a launcher.

    mmengine binds each process to a CUDA device and wraps the model for it. Here the gloo process group is opened
    before the Runner needs one, and the wrapper gets no device. Buffers are not broadcast: every process computes the
    same ones. ``SyncBN`` exists for CUDA only and becomes ``BN``, whose statistics are those of one process.
    ``ShardedStrategy`` then shards on the CPU.

    Args:
        cfg: the config of a Runner with ``launcher`` set; changed in place.

    Raises:
        ValueError: ``launcher`` is neither ``none`` nor ``pytorch``.
        RuntimeError: the variables that ``torchrun`` sets are absent.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher != 'pytorch':
        raise ValueError(f"launcher {launcher!r} needs CUDA, and there is none: use 'pytorch' (tools/dist_train.sh)")
    missing = [name for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]
    if missing:
        raise RuntimeError(f'{", ".join(missing)} not set: start this with tools/dist_train.sh or torchrun')
    if not dist.is_initialized():
        dist.init_process_group('gloo')
    if cfg.get('strategy', {}).get('type') == 'ShardedStrategy':
        _shard_on_cpu(cfg.strategy)
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'device_ids': None,
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
    }
    _revert_sync_bn(cfg.model)


def _shard_on_cpu(strategy: ConfigDict) -> None:
    """FSDP on CPUs cannot send the first process's weights, and an offloaded state dict would alias reused memory."""
    strategy.model_wrapper.update(device_id='cpu', sync_module_states=False)
    keep = {'rank0_only': True, 'offload_to_cpu': False}
    strategy.state_dict_cfg = {
        'state_dict_type': 'FULL_STATE_DICT',
        'state_dict_config': {'type': 'FullStateDictConfig', **keep},
        'optim_state_dict_config': {'type': 'FullOptimStateDictConfig', **keep},
    }


def is_first_process(launcher: str) -> bool:
    """Whether this is the process of rank 0, said before the process group is open; without a launcher each is."""
    rank = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID'}.get(launcher)
    return rank is None or os.environ.get(rank) == '0'


def finish_launch() -> None:
    """Close the process group, on CPUs and GPUs, when all processes have reached this call; a no-op without a group.

    The processes exit together, because one whose peer is gone may abort while it exits. Do not call it in a run that
    failed: it would wait for the other processes.
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _revert_sync_bn(node: object) -> None:
    """Replace ``type='SyncBN'`` by ``'BN'`` everywhere below ``node``."""
    if isinstance(node, (dict, ConfigDict)):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        for value in node.values():
            _revert_sync_bn(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _revert_sync_bn(value)
