"""Hooks of the training loop."""

from .iteration_seed_hook import IterationSeedHook

__all__ = ['IterationSeedHook']
