"""Certain tokens (CLE): a class token finds the patch tokens that certainly show its class."""

import math

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

_EPS = 1e-4  # published, in both denominators


def certain_tokens(tokens: Tensor, features: Tensor, label: Tensor, *, temperature: float = 0.5) -> Tensor:
    """Cross-entropy of every present class's token over the patch tokens, with those of its label as the targets.

    Certain regions of MoRe, https://arxiv.org/abs/2412.11076. Class tokens have length 1, patch tokens keep theirs. The
    published code sums exponentials, which overflow where a score exceeds 88; here their logarithm is summed.

    Args:
        tokens: class tokens (B, C, D); gradients flow into them.
        features: patch tokens (B, D, h, w); no gradient flows into them.
        label: of the patch tokens, long (B, h, w) with 0, 1..C and 255.
        temperature: divides the scores; published 0.5, on COCO 0.1.

    Returns:
        scalar >= 0: the mean over the images of the sum over their classes; 0 without any foreground.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        scores = F.normalize(tokens.float(), dim=-1) @ features.detach().float().flatten(2) / temperature  # (B, C, N)
    ids = torch.arange(1, tokens.shape[1] + 1, device=label.device)
    own = label.flatten(1)[:, None] == ids[:, None]  # (B, C, N)
    total = scores.logsumexp(dim=-1)  # (B, C)
    total = torch.logaddexp(total, torch.full_like(total, math.log(_EPS)))
    of_class = (own * (total[..., None] - scores)).sum(dim=-1) / (own.sum(dim=-1) + _EPS)
    return of_class.sum() / len(tokens)


@MODELS.register_module()
class CertainTokenLoss(nn.Module):
    """:func:`certain_tokens` with a weight (published: 0.2, on COCO 0.1).

    Raises:
        ValueError: the temperature is not positive.
    """

    def __init__(self, *, temperature: float = 0.5, loss_weight: float = 0.2) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, got {temperature}')
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, tokens: Tensor, features: Tensor, label: Tensor) -> Tensor:
        """Weighted loss; arguments as in :func:`certain_tokens`."""
        return self.loss_weight * certain_tokens(tokens, features, label, temperature=self.temperature)
