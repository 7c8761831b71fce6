"""An EMA teacher: a module that slowly follows another one of the same shape."""

import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn


class SteadyAverage(ExponentialMovingAverage):
    """mmengine's average without reading a counter on the device in every step, which would wait for the device.

    The average is ``module``, without gradient. The first update copies, so it starts as the initialised student.

    Args:
        student: the module that is followed; it is copied.
        momentum: rho of ``average <- rho * average + (1 - rho) * student``; 0 makes the average a copy.

    Raises:
        ValueError: the momentum is not in [0, 1).
    """

    def __init__(self, student: nn.Module, *, momentum: float) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum (rho) must be in [0, 1), got {momentum}')
        # mmengine's momentum is 1 - rho and must stay below 1 (rho = 0 is a copy to float precision)
        super().__init__(student, momentum=min(1 - momentum, 1 - 1e-7))

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Copy the parameters of ``model`` the first time, then move towards them."""
        share = torch.where(self.steps == 0, 1.0, self.momentum)  # stays on the device
        for average, source in zip(self.module.parameters(), model.parameters(), strict=True):
            average.lerp_(source, share.to(average))
        self.steps += 1
