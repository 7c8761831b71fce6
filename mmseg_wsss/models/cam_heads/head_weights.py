"""The weight of every attention head in the fused attention: WeakTr's learned weights and the baselines.

WeakTr: https://arxiv.org/abs/2304.01184, section 3.1. Each module has two parts: ``record`` reduces one block's
attention to a few numbers per head while the encoder runs, ``forward`` turns those of all K blocks into one weight per
head, (B, K, H).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..backbones import SelfAttention
from ..cam import attention_map

_POOLINGS = {'max': lambda x: x.amax(dim=1), 'avg': lambda x: x.mean(dim=1)}


class HeadWeights(BaseModule, ABC):
    """Interface of the modules that weigh attention heads.

    Args:
        num_blocks, num_heads, head_dims: K, H and the width of a head, all of the encoder. ``WeakTr`` fills them in.
    """

    def __init__(self, *, num_blocks: int = 12, num_heads: int = 6, head_dims: int = 64) -> None:
        super().__init__()
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.head_dims = head_dims

    @abstractmethod
    def record(self, attention: SelfAttention) -> Tensor:
        """What the weights need from one block, first dimension B; without gradient."""

    @abstractmethod
    def forward(self, seen: Sequence[Tensor]) -> Tensor:
        """Weights (B, K, H) from what ``record`` returned for the K blocks."""


class _InteractingWeights(HeadWeights):
    """One value per head, then an FFN over all heads and a sigmoid (WeakTr Eq. 3).

    In the FFN head h of block k is number ``h * K + k``, the order of the published weights.

    Args:
        reduction: the FFN's hidden layer is K * H / reduction wide (published commands: 8; the paper's 18 of 72 is 4;
            below 1 it is wider than its input).
        **kwargs: of ``HeadWeights``.
    """

    def __init__(self, *, reduction: float = 8, **kwargs) -> None:
        super().__init__(**kwargs)
        count = self.num_blocks * self.num_heads
        if not 0 < reduction <= count:
            raise ValueError(f'reduction must be in (0, {count}] (num_blocks * num_heads), got {reduction}')
        hidden = int(count / reduction)
        self.head_ffn = nn.Sequential(
            nn.Linear(count, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, count, bias=False),
            nn.Sigmoid(),
        )

    def interact(self, values: Tensor) -> Tensor:
        """Weights (B, K, H) in (0, 1) from values (B, K, H)."""
        return self.head_ffn(values.mT.flatten(1)).unflatten(-1, (self.num_heads, self.num_blocks)).mT


@MODELS.register_module()
class OutputPooledWeights(_InteractingWeights):
    """The published adaptive attention fusion: every head's slice of its block's attention *output* is pooled.

    Args:
        pooling: over all tokens, ``'max'`` (published commands) or ``'avg'``.
        interleaved: channel c belongs to head ``c mod H``, as the published code slices and its weights expect;
            False: head ``c // head_dims``, where the channels came from.
        **kwargs: as in the other modules of this file.
    """

    def __init__(self, *, pooling: str = 'max', interleaved: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        if pooling not in _POOLINGS:
            raise ValueError(f'pooling must be one of {sorted(_POOLINGS)}, got {pooling!r}')
        self.pooling = pooling
        self.interleaved = interleaved
        hidden = max(1, self.head_dims // 8)
        self.feature_ffn = nn.Sequential(nn.Linear(self.head_dims, hidden), nn.Linear(hidden, 1))

    def record(self, attention: SelfAttention) -> Tensor:
        """Pooled output of each head, (B, H, head_dims)."""
        pooled = _POOLINGS[self.pooling](attention.output.detach().float())  # (B, D)
        if self.interleaved:
            return pooled.unflatten(-1, (-1, self.num_heads)).mT
        return pooled.unflatten(-1, (self.num_heads, -1))

    def forward(self, seen: Sequence[Tensor]) -> Tensor:
        """Weights (B, K, H) in (0, 1)."""
        return self.interact(self.feature_ffn(torch.stack(list(seen), dim=1)).squeeze(-1))


@MODELS.register_module()
class MapPooledWeights(_InteractingWeights):
    """The paper's Eq. 3 taken literally: every attention *map* is averaged.

    For comparison only: the rows of a softmax sum to 1, so each average is 1 / n for any image, and the weights depend
    on the image size alone. One block's maps are in memory at a time.
    """

    def record(self, attention: SelfAttention) -> Tensor:
        """Mean of each head's map, (B, H)."""
        return attention_map(attention.query.detach().float(), attention.key.detach().float()).mean(dim=(-2, -1))

    def forward(self, seen: Sequence[Tensor]) -> Tensor:
        """Weights (B, K, H) in (0, 1)."""
        return self.interact(torch.stack(list(seen), dim=1))


@MODELS.register_module()
class FixedQueryWeights(_InteractingWeights):
    """Fixed random values instead of the pooled ones (WeakTr Table 4, "rand. fixed W")."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.register_buffer('query', torch.randn(1, self.num_blocks, self.num_heads))

    def record(self, attention: SelfAttention) -> Tensor:
        """Only the batch size is needed, (B, 0)."""
        return attention.output.new_empty(len(attention.output), 0)

    def forward(self, seen: Sequence[Tensor]) -> Tensor:
        """Weights (B, K, H) in (0, 1), the same for every image."""
        return self.interact(self.query).expand(len(seen[0]), -1, -1)


@MODELS.register_module()
class EqualWeights(HeadWeights):
    """All heads count alike: mean over the heads, sum over the blocks (MCTformer's way, WeakTr Table 4, "mean-sum").

    It can load checkpoints with learned weights and ignores these. Their loss never reached the rest of the network, so
    one training serves both variants.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.register_load_state_dict_pre_hook(_drop_own_keys)

    def record(self, attention: SelfAttention) -> Tensor:
        """Only the batch size is needed, (B, 0)."""
        return attention.output.new_empty(len(attention.output), 0)

    def forward(self, seen: Sequence[Tensor]) -> Tensor:
        """K everywhere, (B, K, H): with it the mean over K * H heads is the sum over the blocks of the head means."""
        shape = (len(seen[0]), self.num_blocks, self.num_heads)
        return torch.full(shape, float(self.num_blocks), device=seen[0].device)


def _drop_own_keys(module: nn.Module, state_dict: dict, prefix: str, *args: object) -> None:
    """Remove the keys of this module, which has no parameters."""
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]
