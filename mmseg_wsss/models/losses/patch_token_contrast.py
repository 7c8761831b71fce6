"""Patch token contrast (PTC): tokens of the same label become similar, tokens of different labels dissimilar."""

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from mmseg.registry import MODELS
from torch import Tensor, nn

from .reduction import mean_over_ranks


def patch_token_contrast(features: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """ToCo, https://arxiv.org/abs/2303.01267, Eq. 3, with a factor of 0.5 on each half as in the published code.

    Paper and code take the absolute value of the cosine similarity.

    Args:
        features: final patch tokens (B, D, h, w); gradients flow into them.
        positive: bool (B, h*w, h*w), pairs with the same label.
        negative: bool (B, h*w, h*w), pairs with different labels.

    Returns:
        scalar in [0, 1]; 0.5 with zero gradient if there are no pairs.
    """
    # float32: sums over up to (h*w)^2 pairs
    tokens = F.normalize(features.float().flatten(2), dim=1)  # (B, D, n)
    with torch.autocast(features.device.type, enabled=False):
        similarity = (tokens.transpose(1, 2) @ tokens).abs()  # (B, n, n)
    one = 1 / get_world_size()  # the +1 of the formula belongs to the batch over all processes
    pull = (similarity * positive).sum() / (mean_over_ranks(positive.sum()) + one)
    push = (similarity * negative).sum() / (mean_over_ranks(negative.sum()) + one)
    return 0.5 * (1 - pull) + 0.5 * push


@MODELS.register_module()
class PatchTokenContrastLoss(nn.Module):
    """:func:`patch_token_contrast` with a weight (published: 0.2)."""

    def __init__(self, *, loss_weight: float = 0.2) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Weighted loss; arguments as in :func:`patch_token_contrast`."""
        return self.loss_weight * patch_token_contrast(features, positive, negative)
