"""Global weighted rank pooling: between the maximum and the mean (https://arxiv.org/abs/1603.06098, section 3.2)."""

import torch
from torch import Tensor


def rank_weighted_mean(maps: Tensor, decay: float) -> Tensor:
    """Mean over space where the value of rank i, counted from 0 at the largest, has the weight ``decay ** i``.

    MCTformer+ (https://arxiv.org/abs/2308.03005) classifies its patches so, with 0.996.

    Args:
        maps: (B, C, h, w); gradients flow into all of it.
        decay: in [0, 1]; 0 is the maximum, 1 the mean.

    Returns:
        float32 (B, C).
    """
    ranked = maps.flatten(2).float().sort(descending=True).values
    weights = decay ** torch.arange(ranked.shape[-1], device=maps.device)
    return (ranked * weights).sum(dim=-1) / weights.sum()
