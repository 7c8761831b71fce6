"""Mixed precision that also works on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """An ``OptimWrapper`` whose forward passes run under bfloat16 autocast, on any device.

    The difference from mmengine's ``AmpOptimWrapper``: it also works without CUDA, and there is no loss scaling, since
    bfloat16 has the exponent range of float32. Parameters, gradients and the optimizer's state stay float32. For
    float16 on CUDA use ``AmpOptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Gradient accumulation as in ``OptimWrapper``, and autocast around it."""
        module = model.module if is_model_wrapper(model) else model
        device = next(module.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
