"""Learning rates in closed form, as in the published trainings.

mmengine's schedulers are multiplied and share one absolute floor; these set the rate of every parameter group from its
own base rate. Each is the only entry of ``param_scheduler``.
"""

import math

from mmengine.optim import OptimWrapper, _ParamScheduler
from mmseg.registry import PARAM_SCHEDULERS
from torch.optim import Optimizer


class _ClosedFormLR(_ParamScheduler):
    """The rate is a function of the base rate and the iteration, counted from 0."""

    def __init__(self, optimizer: OptimWrapper | Optimizer, *, end: int, by_epoch: bool, **kwargs) -> None:
        if by_epoch:
            raise ValueError(f'{type(self).__name__} counts iterations: set by_epoch=False')
        super().__init__(optimizer, 'lr', end=end, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        return [self.rate(base, self.last_step) for base in self.base_values]

    def rate(self, base: float, step: int) -> float:
        """The learning rate of a group with the base rate ``base`` in iteration ``step``."""
        raise NotImplementedError


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(_ClosedFormLR):
    """Linear warm-up to the base rate, then polynomial decay over the whole length (ToCo; Segmenter without warm-up).

    In iteration t of T = ``end``, with W = ``warmup_iters``: ``base * (1 - (1 - t/W) (1 - warmup_factor))`` for t < W,
    then ``base * (floor + (1 - floor) (1 - t/T)^power)``. The warm-up is not decayed, so the rate drops at t = W, in
    ToCo from 6e-5 to 5.6e-5.

    Args:
        optimizer: whose rates are set.
        end: T, the length of the training.
        power: of the decay.
        warmup_iters: W, 0 for none.
        warmup_factor: share of the base rate in iteration 0.
        floor: share of its own base rate at which every group ends.
        by_epoch: must be False, for mmengine.
        **kwargs: ``last_step`` and ``verbose`` of mmengine's schedulers.
    """

    def __init__(
        self,
        optimizer: OptimWrapper | Optimizer,
        *,
        end: int,
        power: float = 0.9,
        warmup_iters: int = 0,
        warmup_factor: float = 1e-6,
        floor: float = 0.0,
        by_epoch: bool = True,
        **kwargs,
    ) -> None:
        self.power = power
        self.warmup_iters = warmup_iters
        self.warmup_factor = warmup_factor
        self.floor = floor
        super().__init__(optimizer, end=end, by_epoch=by_epoch, **kwargs)

    def rate(self, base: float, step: int) -> float:
        """See the class."""
        if step < self.warmup_iters:
            return base * (1 - (1 - step / self.warmup_iters) * (1 - self.warmup_factor))
        return base * (self.floor + (1 - self.floor) * (1 - step / self.end) ** self.power)


@PARAM_SCHEDULERS.register_module()
class EpochCosineLR(_ClosedFormLR):
    """Cosine with warm-up that changes once per epoch and is one epoch late (WeakTr's first stage, timm's scheduler).

    Published WeakTr passes the number of an epoch to timm's scheduler after that epoch, so epoch e > 0 has the rate of
    t = e - 1 and the first two epochs have ``warmup_lr``. With E = ``epochs`` and W = ``warmup_epochs``: ``warmup_lr +
    (base - warmup_lr) t/W`` for t < W, then ``min_lr + (base - min_lr) (1 + cos(pi t/E)) / 2``.

    Args:
        optimizer: whose rates are set.
        end: the length of the training in iterations.
        epoch_iters: iterations per epoch, floor(images / batch) where the last batch is dropped.
        epochs: E.
        warmup_epochs: W.
        warmup_lr, min_lr: absolute rates at the start and at the end.
        by_epoch: must be False, for mmengine.
        **kwargs: ``last_step`` and ``verbose`` of mmengine's schedulers.
    """

    def __init__(
        self,
        optimizer: OptimWrapper | Optimizer,
        *,
        end: int,
        epoch_iters: int,
        epochs: int = 60,
        warmup_epochs: int = 5,
        warmup_lr: float = 1e-6,
        min_lr: float = 1e-5,
        by_epoch: bool = True,
        **kwargs,
    ) -> None:
        self.epoch_iters = epoch_iters
        self.epochs = epochs
        self.warmup_epochs = warmup_epochs
        self.warmup_lr = warmup_lr
        self.min_lr = min_lr
        super().__init__(optimizer, end=end, by_epoch=by_epoch, **kwargs)

    def rate(self, base: float, step: int) -> float:
        """See the class."""
        epoch = max(step // self.epoch_iters - 1, 0)
        if epoch < self.warmup_epochs:
            return self.warmup_lr + (base - self.warmup_lr) * epoch / self.warmup_epochs
        return self.min_lr + (base - self.min_lr) * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
