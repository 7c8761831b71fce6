"""Contrast of tagged class tokens with a prototype of every class (L_LIG of SeCo)."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from mmseg.registry import MODELS
from torch import Tensor, nn

from .reduction import mean_of_counted


def prototype_contrast(features: Tensor, tags: Tensor, prototypes: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Cross-entropy of ``q_i.p_c / t`` over the classes c that occur among the tags (SeCo's L_LIG).

    SeCo, https://arxiv.org/abs/2402.18467. The mean is over the anchors with a class, and both it and the classes are
    those of all processes.

    Args:
        features: unit vectors q (n, P); gradients flow into them.
        tags: long (n,): 1..C; 0 (background) and -1 (none) take no part.
        prototypes: unit vectors p (C, P).
        temperature: t.

    Returns:
        scalar >= 0; 0 with zero gradient where fewer than two classes occur.
    """
    with torch.autocast(features.device.type, enabled=False):
        logits = features.float() @ prototypes.float().T / temperature  # (n, C)
    anchor = tags > 0
    occurs = F.one_hot(tags.clamp(min=0), len(prototypes) + 1).amax(dim=0)[1:]  # (C,) of 0 and 1
    if get_world_size() > 1:
        all_reduce(occurs, 'max')
    # rows without a class stay finite: their loss is ignored, but its gradient would be NaN
    logits = logits.masked_fill(anchor[:, None] & (occurs == 0), float('-inf'))
    total = F.cross_entropy(logits, torch.where(anchor, tags - 1, -100), reduction='sum')
    return mean_of_counted(total, anchor.sum())


@MODELS.register_module()
class PrototypeContrastLoss(nn.Module):
    """:func:`prototype_contrast` with a weight (published: 0.5)."""

    def __init__(self, *, temperature: float = 0.1, loss_weight: float = 0.5) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, got {temperature}')
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, tags: Tensor, prototypes: Tensor) -> Tensor:
        """Weighted loss; arguments as in :func:`prototype_contrast`."""
        return self.loss_weight * prototype_contrast(features, tags, prototypes, temperature=self.temperature)
