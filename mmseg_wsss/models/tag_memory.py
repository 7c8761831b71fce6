"""Tagged tokens of earlier batches, and a prototype of every class (SeCo, https://arxiv.org/abs/2402.18467)."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn

from ..constants import BACKGROUND
from .cam import MIXED


class TagMemory(nn.Module):
    """What is remembered of earlier batches of all processes: tagged keys, and a prototype of every class.

    Buffers: ``queue`` (L, P) of unit vectors with ``queue_tag`` (L, 1), overwritten in turn from row ``queue_ptr`` on,
    and ``prototypes`` (C, P), random unit vectors at first.

    Args:
        num_classes, channels, length: C, P and L.
        momentum: of the prototypes.
        as_published: the queue starts with random rows, its columns of length 1, tagged as background; otherwise it is
            empty at first (tag -1).
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        length: int = 4608,
        momentum: float = 0.9,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f'memory.momentum must be in [0, 1), got {momentum}')
        self.momentum = momentum
        rows = F.normalize(torch.randn(length, channels), dim=0) if as_published else torch.zeros(length, channels)
        self.register_buffer('queue', rows)
        self.register_buffer('queue_tag', torch.full((length, 1), BACKGROUND if as_published else MIXED))
        self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))
        self.register_buffer('prototypes', F.normalize(torch.randn(num_classes, channels), dim=1))

    @torch.no_grad()
    def append(self, keys: Tensor, tags: Tensor) -> None:
        """Put the keys (B, V, P) and tags (B, V) of all processes over the oldest rows.

        Raises:
            ValueError: they are more than the queue holds.
        """
        keys, tags = (_of_all_processes(part).flatten(0, 1) for part in (keys, tags))
        if len(keys) > len(self.queue):
            raise ValueError(
                f'a step makes {len(keys)} keys, more than the {len(self.queue)} that model.memory.length holds'
            )
        rows = (self.queue_ptr + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[rows] = keys.to(self.queue)
        self.queue_tag[rows, 0] = tags
        self.queue_ptr.copy_((self.queue_ptr + len(keys)) % len(self.queue))

    @torch.no_grad()
    def follow(self, tokens: Tensor, label: Tensor) -> None:
        """Move prototypes towards class tokens (B, P) of images with one class by their labels (B, C); make them unit.

        One image after the other, over all processes: ``p_c <- rho p_c + (1 - rho) t``.
        """
        alone = label * (label.sum(dim=1, keepdim=True) == 1)  # (B, C)
        alone, tokens = (_of_all_processes(part.float()) for part in (alone, tokens))
        later = alone.flip(0).cumsum(dim=0).flip(0) - alone  # images of the class that come after
        weight = alone * (1 - self.momentum) * self.momentum**later
        kept = self.momentum ** alone.sum(dim=0)[:, None]
        self.prototypes.copy_(F.normalize(kept * self.prototypes + weight.T @ tokens, dim=1))


def _of_all_processes(part: Tensor) -> Tensor:
    """(B, ...) of every process as one batch, in the order in which samplers deal images out: one to each in turn."""
    return torch.stack(all_gather(part.contiguous()), dim=1).flatten(0, 1)
