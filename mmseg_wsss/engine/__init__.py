"""What the Runner needs beyond mmengine: mixed precision on a CPU, exact resume, several CPU processes."""

from .bf16_optim_wrapper import BF16OptimWrapper
from .cpu_launch import finish_launch, prepare_cpu_launch
from .iteration_seed_hook import IterationSeedHook

__all__ = ['BF16OptimWrapper', 'IterationSeedHook', 'finish_launch', 'prepare_cpu_launch']
