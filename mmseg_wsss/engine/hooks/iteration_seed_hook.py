"""Random draws that a resumed training repeats exactly."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from mmseg.registry import HOOKS

_DATA, _MODEL = 0, 1


def _derive_seed(runner: Runner, position: int, stream: int) -> int:
    """A 32-bit seed for this run, process, position in the training and stream; a hash, so that sums do not collide."""
    return int(np.random.SeedSequence([runner.seed, get_rank(), position, stream]).generate_state(1)[0])


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Make the draws of a training step a function of (seed, rank, iteration) alone.

    mmengine saves no random states, so a resumed run would draw other crop centres than an uninterrupted one. Saving
    the states does not help: only the first process writes the checkpoint, and the loader's workers have states of
    their own. So nothing is saved. There are two streams in the process that trains:

    - model: seeded again before each iteration;
    - data (read with ``num_workers=0``): seeded at the start of each epoch, saved and restored around the step and
      around validation. On resume, mmengine's ``IterBasedTrainLoop`` reads the batches that were already used again,
      which advances this stream, and those of the workers, to the same position.

    A step thus has the same loss after ``--resume`` as without interruption. The fork onedl-mmengine advances its
    sampler without reading: there the images after ``--resume`` are the same, but their crops and colours differ.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the data stream; an iteration-based training is one epoch."""
        set_random_seed(_derive_seed(runner, runner.epoch, _DATA))
        self._data_stream = _draw_states()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Save the data stream, just after the batch was read, and start the model's stream of this iteration."""
        self._data_stream = _draw_states()
        set_random_seed(_derive_seed(runner, runner.iter, _MODEL))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Take the data stream up again."""
        _restore_states(self._data_stream)

    def after_val(self, runner: Runner) -> None:
        """Restore the data stream after a validation between two iterations."""
        if runner.train_loop is not None and hasattr(self, '_data_stream'):
            _restore_states(self._data_stream)


def _draw_states() -> tuple:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore_states(states: tuple) -> None:
    python, numpy, torch_cpu = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(torch_cpu)
