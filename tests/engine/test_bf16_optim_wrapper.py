"""bfloat16 on a CPU."""

from contextlib import contextmanager

import pytest
import torch
from mmengine.model import BaseModel
from mmseg.registry import OPTIM_WRAPPERS


class _Line(BaseModel):
    """y = w x with w = 1 + 2^-9, which bfloat16 rounds to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[1 + 2**-9]]))
        self.seen = []

    def forward(self, inputs, data_samples=None, mode='loss'):
        y = torch.nn.functional.linear(inputs, self.weight)
        self.seen.append(y)
        return {'loss': y.float().sum()}


def _step(**cfg) -> tuple[_Line, torch.Tensor]:
    model = _Line()
    wrapper = OPTIM_WRAPPERS.build({**cfg, 'optimizer': torch.optim.SGD(model.parameters(), lr=0.5)})
    logs = model.train_step({'inputs': torch.tensor([[3.0]])}, wrapper)
    return model, logs['loss']


def test_forward_is_bfloat16_and_the_parameters_stay_float32():
    model, loss = _step(type='BF16OptimWrapper')
    assert model.seen[0].dtype == torch.bfloat16
    assert loss.item() == 3.0
    assert model.weight.dtype == torch.float32
    # the update happens in float32: the start value's last bits survive a step of 0.5 * 3
    assert model.weight.item() == pytest.approx(1 + 2**-9 - 1.5, abs=1e-7)


def test_plain_wrapper_is_float32():
    model, loss = _step(type='OptimWrapper')
    assert model.seen[0].dtype == torch.float32
    assert loss.item() == pytest.approx(3 + 3 * 2**-9, abs=1e-6)


def test_gradient_accumulation_waits_for_its_second_step():
    model = _Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wrapper = OPTIM_WRAPPERS.build({'type': 'BF16OptimWrapper', 'optimizer': optimizer, 'accumulative_counts': 2})
    wrapper.initialize_count_status(model, 0, 4)
    model.train_step({'inputs': torch.tensor([[3.0]])}, wrapper)
    assert model.weight.item() == 1 + 2**-9
    model.train_step({'inputs': torch.tensor([[1.0]])}, wrapper)
    assert model.weight.item() == pytest.approx(1 + 2**-9 - 0.5 * (3 + 1) / 2, abs=1e-7)


class _Distributed(_Line):
    """Like DistributedDataParallel: gradients of processes meet in backward, except under ``no_sync``."""

    syncs = True

    @contextmanager
    def no_sync(self):
        self.syncs = False
        yield
        self.syncs = True

    def forward(self, *args, **kwargs):
        losses = super().forward(*args, **kwargs)
        self.seen[-1] = (self.seen[-1].dtype, self.syncs)
        return losses


def test_processes_meet_in_the_last_step_of_an_accumulation():
    model = _Distributed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wrapper = OPTIM_WRAPPERS.build({'type': 'BF16OptimWrapper', 'optimizer': optimizer, 'accumulative_counts': 3})
    wrapper.initialize_count_status(model, 0, 7)
    for _ in range(7):
        model.train_step({'inputs': torch.tensor([[1.0]])}, wrapper)
    syncs = [False, False, True, False, False, True, True]  # the last iteration has none to wait for
    assert model.seen == [(torch.bfloat16, one) for one in syncs]
