"""Counts over all processes, so that several processes compute the loss of the whole batch."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def mean_over_ranks(count: Tensor) -> Tensor:
    """Average a count over processes.

    If each process divides its own sum by this average, the mean over processes that distributed training takes of
    gradients (or losses) is exactly that of all samples in one batch, however unevenly they are distributed.

    Args:
        count: detached number of terms in the sum of this process; any shape.
    """
    if get_world_size() == 1:
        return count
    total = count.clone()
    all_reduce(total)
    return total / get_world_size()


def mean_of_counted(total: Tensor, count: Tensor) -> Tensor:
    """``total / count`` with the count of all processes; 0, also in gradient, where nothing is counted.

    Args:
        total: sum of the counted terms of this process, a scalar.
        count: how many terms it has, of any number type, without gradient; see :func:`mean_over_ranks`.
    """
    shared = mean_over_ranks(count.to(total.dtype))
    return torch.where(shared > 0, total / shared.clamp(min=torch.finfo(shared.dtype).tiny), 0 * total)
