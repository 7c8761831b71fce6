"""A refiner of a user's own module, which worker processes find by the name of the module."""

import multiprocessing
import os

from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class NextClass(nn.Module):
    """Hands every score on to the next class; on request it cannot be made in a worker process, or ends it."""

    on_cpu = True

    def __init__(self, *, unmakeable: bool = False, dies: bool = False) -> None:
        super().__init__()
        if unmakeable and multiprocessing.parent_process() is not None:
            raise ArithmeticError('there is no licence for workers')
        self.dies = dies

    def forward(self, images: Tensor, scores: Tensor) -> Tensor:
        if self.dies:
            os._exit(3)
        return scores.roll(1, dims=1)
