"""The two streams of random draws."""

import random
from types import SimpleNamespace

import numpy as np
import torch

from mmseg_wsss.engine import IterationSeedHook


def _draw() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(()).item()


def _run(iterations: list[int], *, seed: int = 7, model_draws: int = 1, skip: int = 0, validate: bool = False) -> list:
    """(data draws, model draws) of each iteration of a loop that reads, trains and maybe validates."""
    runner = SimpleNamespace(seed=seed, iter=0, epoch=0, train_loop=object())
    hook = IterationSeedHook()
    hook.before_train_epoch(runner)
    for _ in range(skip):
        _draw()  # mmengine reads the batches that were already trained
    out = []
    for runner.iter in iterations:
        data = _draw()
        hook.before_train_iter(runner, batch_idx=runner.iter)
        model, *_ = [_draw() for _ in range(model_draws)]
        hook.after_train_iter(runner, batch_idx=runner.iter)
        if validate:
            _draw()
            hook.after_val(runner)
        out.append((data, model))
    return out


def test_a_later_start_repeats_the_draws():
    whole = _run([0, 1, 2, 3])
    assert _run([2, 3], skip=2) == whole[2:]
    assert len({draw for pair in whole for draw in pair}) == 8, 'no two draws alike'


def test_neither_the_model_nor_validation_moves_the_data_stream():
    whole = _run([0, 1, 2])
    assert _run([0, 1, 2], model_draws=5) == whole
    assert _run([0, 1, 2], validate=True) == whole


def test_seed_and_rank_change_every_draw(monkeypatch):
    first, other = _run([0, 1]), _run([0, 1], seed=8)
    monkeypatch.setattr('mmseg_wsss.engine.hooks.iteration_seed_hook.get_rank', lambda: 1)
    second_rank = _run([0, 1])
    for iteration in range(2):
        for stream in range(2):
            values = {first[iteration][stream], other[iteration][stream], second_rank[iteration][stream]}
            assert len(values) == 3


def test_validation_without_training_leaves_the_draws_alone():
    random.seed(0)
    expected = random.random()
    random.seed(0)
    IterationSeedHook().after_val(SimpleNamespace(train_loop=None))
    assert random.random() == expected
