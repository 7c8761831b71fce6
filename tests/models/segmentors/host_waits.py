"""What a training step makes the host do for a device, seen on a CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(TorchDispatchMode):
    """Notes the operations that make the host wait for a device, and the tensors made of Python's numbers."""

    WAIT = ('_local_scalar_dense', 'nonzero', 'is_nonzero', 'masked_select', 'unique', '_unique2', 'equal')

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.from_host = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        by_mask = name in ('index', 'index_put', 'index_put_') and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in self.WAIT or by_mask:
            self.waits.append(name)
        self.from_host += name == 'lift_fresh'
        return result
