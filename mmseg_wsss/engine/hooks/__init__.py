"""Hooks of the training loop."""

from .class_count_hook import ClassCountHook
from .iteration_seed_hook import IterationSeedHook
from .whole_checkpoint_hook import WholeCheckpointHook

__all__ = ['ClassCountHook', 'IterationSeedHook', 'WholeCheckpointHook']
