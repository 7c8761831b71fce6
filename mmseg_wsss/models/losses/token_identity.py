"""Token identity: every class token is itself, and not like the token of another class."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


def token_identity(
    tokens: Tensor, weights: Tensor | None = None, *, temperature: float = 1.0, blocks: int | None = None
) -> Tensor:
    """Cross-entropy of the cosine similarities of an image's class tokens, each with its own index as the target.

    Contrastive class tokens of MCTformer+ (https://arxiv.org/abs/2308.03005): the present classes in every block at
    temperature 1. Token loss of MoRe (https://arxiv.org/abs/2412.11076): all classes in the last block at 0.07.

    All C tokens are in the denominator. Cosines are in [-1, 1], so the loss has a floor above 0: at temperature t it is
    ``log(1 + (C - 1) exp(-1/t))`` for orthogonal tokens, which is 2.08 for 20 classes and t = 1.

    Args:
        tokens: class tokens of K blocks, (K, B, C, D); gradients flow into them.
        weights: how much each class of each image counts, (B, C) in [0, 1], for instance image-level labels. The loss
            of an image is the mean over its classes by these weights, and 0 if they are all 0. None: all count alike.
        temperature: t.
        blocks: how many of the last blocks count, from 1 to K; None: all.

    Returns:
        scalar >= 0, the mean over blocks and images.
    """
    tokens = tokens if blocks is None else tokens[-blocks:]
    with torch.autocast(tokens.device.type, enabled=False):
        unit = F.normalize(tokens.float(), dim=-1)
        similarity = unit @ unit.mT / temperature  # (K, B, C, C)
    losses = -similarity.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1).mean(dim=0)  # (B, C)
    if weights is None:
        return losses.mean()
    return ((losses * weights).sum(dim=-1) / weights.sum(dim=-1).clamp(min=1)).mean()


@MODELS.register_module()
class TokenIdentityLoss(nn.Module):
    """:func:`token_identity` with a weight (published: 1).

    Args:
        temperature, blocks: as in :func:`token_identity`.
        loss_weight: factor of the loss.

    Raises:
        ValueError: the temperature is not positive, or there are no blocks.
    """

    def __init__(self, *, temperature: float = 1.0, blocks: int | None = None, loss_weight: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, got {temperature}')
        if blocks is not None and blocks < 1:
            raise ValueError(f'blocks must be at least 1, or None for all, got {blocks}')
        self.temperature = temperature
        self.blocks = blocks
        self.loss_weight = loss_weight

    def forward(self, tokens: Tensor, weights: Tensor | None = None) -> Tensor:
        """Weighted loss; arguments as in :func:`token_identity`."""
        loss = token_identity(tokens, weights, temperature=self.temperature, blocks=self.blocks)
        return self.loss_weight * loss
