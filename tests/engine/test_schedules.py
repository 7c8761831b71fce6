"""The published learning rates, against loops written after the published trainings and what they logged."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import PARAM_SCHEDULERS

from mmseg_wsss.engine import EpochCosineLR, WarmupPolyLR


def optimizer_of(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([dict(params=[torch.zeros(1, requires_grad=True)], lr=rate) for rate in rates], lr=1.0)


def rates_of(scheduler, steps: int) -> list[list[float]]:
    """What every group has in iterations 0 to steps - 1."""
    seen = []
    for _ in range(steps):
        seen.append([group['lr'] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def toco(step: int, base: float) -> float:
    """The optimizer of published ToCo sets its rate before each step, by a counter from 0."""
    if step < 1500:
        return base * (1 - (1 - step / 1500) * (1 - 1e-6))
    return base * (1 - step / 20000) ** 0.9


def test_toco_rate():
    scheduler = WarmupPolyLR(optimizer_of(6e-5, 6e-4), end=20000, warmup_iters=1500, by_epoch=False)
    seen = rates_of(scheduler, 20000)
    for step in (0, 1, 750, 1499, 1500, 1501, 2001, 19999):
        assert seen[step] == pytest.approx([toco(step, 6e-5), toco(step, 6e-4)], rel=1e-12)
    # as its log prints it after 200, 1400, 1600, 6000, 19800 and 20000 steps
    logged = {200: 7.960e-06, 1400: 5.596e-05, 1600: 5.566e-05, 6000: 4.353e-05, 19800: 9.552e-07, 20000: 8.077e-09}
    assert {step: float(f'{seen[step - 1][0]:.3e}') for step in logged} == logged


def test_recorded_rates_of_the_four_groups_of_seco(golden):
    """The encoder, its norms, classifiers and projector, decoder; DuPL and MoRe have the same."""
    recorded = golden('seco_lr')
    scheduler = WarmupPolyLR(optimizer_of(6e-5, 6e-5, 6e-4, 6e-4), end=20000, warmup_iters=1500, by_epoch=False)
    for step, rates in zip(recorded['steps'].tolist(), recorded['rates_times_1e6'].tolist(), strict=True):
        found = [1e6 * scheduler.rate(base, int(step)) for base in scheduler.base_values]
        assert found == pytest.approx(rates, rel=1e-6, abs=1e-10)  # recorded in float32


def test_segmenter_rate_with_a_tenth_for_the_encoder():
    """Published: one polynomial to 1e-5 for all groups, multiplied by the group's scale when it is used."""
    total = 1000
    seen = rates_of(WarmupPolyLR(optimizer_of(1e-5, 1e-4), end=total, floor=0.1, by_epoch=False), total)
    for step, rates in enumerate(seen):
        shared = (1e-4 - 1e-5) * (1 - step / total) ** 0.9 + 1e-5
        assert rates == pytest.approx([0.1 * shared, shared], rel=1e-12)
    assert seen[-1] == pytest.approx([1e-6, 1e-5], rel=0.02), 'the encoder ends at 1e-6'


def test_weaktr_rate_of_every_epoch():
    base, iters = 7.5e-5, 3
    scheduler = EpochCosineLR(optimizer_of(base), end=60 * iters, epoch_iters=iters, by_epoch=False)
    seen = [rates[0] for rates in rates_of(scheduler, 60 * iters)]
    assert all(seen[i] == seen[i - i % iters] for i in range(len(seen))), 'the rate changes between epochs only'

    expected, rate = [], 1e-6  # timm's scheduler starts its groups at the warm-up rate ...
    for epoch in range(60):
        expected.append(rate)
        # ... and learns the number of an epoch after it
        rate = 1e-6 + epoch * (base - 1e-6) / 5
        if epoch >= 5:
            rate = 1e-5 + 0.5 * (base - 1e-5) * (1 + math.cos(math.pi * epoch / 60))
    assert seen[::iters] == pytest.approx(expected, rel=1e-12)
    assert expected[:3] == pytest.approx([1e-6, 1e-6, 1.58e-5])


def test_resumed_schedule_goes_on_where_it_stopped():
    settings = dict(end=40, warmup_iters=10, floor=0.1, by_epoch=False)
    whole = rates_of(WarmupPolyLR(optimizer_of(1e-3), **settings), 40)
    first = WarmupPolyLR(optimizer_of(1e-3), **settings)
    rates_of(first, 15)
    second = WarmupPolyLR(optimizer_of(1e-3), **settings)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates_of(second, 25) == whole[15:]


@pytest.mark.parametrize('kind', [WarmupPolyLR, EpochCosineLR])
def test_they_count_iterations(kind):
    options = dict(end=10) if kind is WarmupPolyLR else dict(end=10, epoch_iters=2)
    scheduler = kind(optimizer_of(1.0), by_epoch=False, **options)
    assert scheduler.by_epoch is False, 'the hook asks for it'
    with pytest.raises(ValueError, match=f'{kind.__name__} counts iterations: set by_epoch=False'):
        kind(optimizer_of(1.0), by_epoch=True, **options)


def test_schedulers_are_built_by_name_for_an_optim_wrapper():
    wrapper = OptimWrapper(optimizer_of(1.0))
    default_args = dict(optimizer=wrapper, epoch_length=7)  # what the Runner adds
    built = PARAM_SCHEDULERS.build(dict(type='WarmupPolyLR', end=10, by_epoch=False), default_args=default_args)
    assert built.rate(1.0, 5) == 0.5**0.9
    with pytest.raises(ValueError, match='EpochCosineLR counts iterations: set by_epoch=False'):
        PARAM_SCHEDULERS.build(dict(type='EpochCosineLR', end=10, epoch_iters=2), default_args=default_args)
