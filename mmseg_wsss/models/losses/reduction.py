"""Counts over all processes, so that several processes compute the loss of the one big batch."""

from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def mean_over_ranks(count: Tensor) -> Tensor:
    """Average a count over processes.

    A loss that divides its own sum by this average gives, once gradients (or losses) are averaged over processes as
    distributed training does, exactly the loss of all samples in one batch, however unevenly the counted things lie.

    Args:
        count: detached number of things that this process sums over; any shape.
    """
    if get_world_size() == 1:
        return count
    total = count.clone()
    all_reduce(total)
    return total / get_world_size()
