"""Additions to mmengine's Runner: mixed precision on a CPU, exact resume, whole checkpoints, several CPU processes,
sharded parameters, published learning rates, a short log, the set-up of a test."""

from .bf16_optim_wrapper import BF16OptimWrapper
from .config_file import check_checkpoints, read_config
from .cpu_launch import finish_launch, is_first_process, prepare_cpu_launch
from .hooks import ClassCountHook, IterationSeedHook, WholeCheckpointHook
from .latest_checkpoint import latest_checkpoint
from .schedules import EpochCosineLR, WarmupPolyLR
from .sharding import ShardedStrategy, wrap_transformer_blocks
from .summary_constructor import SummaryOptimWrapperConstructor
from .test_setup import image_folder, load_own_weights, use_crf, use_tta, weights_sha256, whole_checkpoint

__all__ = [
    'BF16OptimWrapper',
    'ClassCountHook',
    'EpochCosineLR',
    'IterationSeedHook',
    'ShardedStrategy',
    'SummaryOptimWrapperConstructor',
    'WarmupPolyLR',
    'WholeCheckpointHook',
    'check_checkpoints',
    'finish_launch',
    'image_folder',
    'is_first_process',
    'latest_checkpoint',
    'load_own_weights',
    'prepare_cpu_launch',
    'read_config',
    'use_crf',
    'use_tta',
    'weights_sha256',
    'whole_checkpoint',
    'wrap_transformer_blocks',
]
