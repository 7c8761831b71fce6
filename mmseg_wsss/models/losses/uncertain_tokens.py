"""Uncertain tokens (UNE): patch tokens near an object whose class is not certain move to the present classes."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...constants import IGNORE
from .reduction import mean_of_counted

_MARGIN, _WINDOW, _NEARBY = 3, 6, 1.2


def choose_uncertain(label: Tensor, keys: Tensor, *, num: int = 8, as_published: bool = False) -> tuple[Tensor, Tensor]:
    """Choose uncertain tokens with a class nearby, and where there are fewer than ``num``, some tokens of a class.

    Uncertain tokens count 1, tokens of a class 2 and background 0. A candidate is uncertain, at least 3 tokens away
    from the border, and the mean of the 6 x 6 tokens around it is at least 1.2. All n of them are chosen, or ``num`` at
    random; if n < ``num`` also (``num`` - n) // 4 random tokens of a class, or random ones where there are not enough.

    Args:
        label: long (B, h, w) with 0, 1..C and 255 = uncertain, h and w at least 7.
        keys: uniform random numbers in [0, 1), (2, B, h - 6, w - 6), whose order is the order of the two draws.
        num: how many uncertain tokens are enough.
        as_published: take the tokens 3 rows above and 3 columns left of those that were chosen.

    Returns:
        index of tokens among the h * w, long (B, S), and which of these S are chosen, bool (B, S).
    """
    height, width = (side - 2 * _MARGIN for side in label.shape[-2:])
    level = (label > 0).int() + ((label > 0) & (label != IGNORE)).int()  # (B, h, w)
    inner = level[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].flatten(1)  # (B, n)
    around = F.avg_pool2d(level.float(), _WINDOW, stride=1)[:, :height, :width].flatten(1)
    candidate = (inner == 1) & (around >= _NEARBY)
    count = candidate.sum(dim=1, keepdim=True)
    more = (num - count).clamp(min=0) // 4
    of_class = inner == 2
    enough = of_class.sum(dim=1, keepdim=True) >= more
    # Keys of the wanted tokens are raised above all others: the largest are a draw without replacement and host sync.
    keys = keys.flatten(2) + torch.stack((candidate, of_class & enough))
    draws = [one.topk(min(slots, one.shape[1])).indices for one, slots in zip(keys, (num, num // 4), strict=True)]
    chosen = [
        torch.arange(draw.shape[1], device=label.device) < n for draw, n in zip(draws, (count, more), strict=True)
    ]
    index, offset = torch.cat(draws, dim=1), 0 if as_published else _MARGIN
    index = (index // width + offset) * label.shape[-1] + index % width + offset
    return index, torch.cat(chosen, dim=1)


def uncertain_tokens(features: Tensor, tokens: Tensor, scores: Tensor, index: Tensor, chosen: Tensor) -> Tensor:
    """Similarity of the chosen patch tokens to class tokens: high for present classes, low for others.

    Uncertain regions of MoRe, https://arxiv.org/abs/2412.11076. Absolute cosines, as in patch token contrast.

    Args:
        features: patch tokens (B, D, h, w); gradients flow into them.
        tokens: class tokens (B, C, D); no gradient flows into them.
        scores: image-level labels, multi-hot (B, C).
        index, chosen: of :func:`choose_uncertain`, (B, S).

    Returns:
        scalar in [0, 1], the mean over the chosen tokens of all processes.
    """
    with torch.autocast(features.device.type, enabled=False):
        patches = F.normalize(features.float().flatten(2))  # (B, D, N), each token of length 1
        patches = patches.gather(2, index[:, None].expand(-1, patches.shape[1], -1))  # (B, D, S)
        similarity = (F.normalize(tokens.detach().float(), dim=-1) @ patches).abs()  # (B, C, S)
        present, others = (part[:, None].float() for part in (scores, 1 - scores))  # (B, 1, C)
        pull, push = ((part @ similarity)[:, 0] / (part.sum(dim=-1) + 1) for part in (present, others))  # (B, S)
    return mean_of_counted((chosen * (0.5 * (1 - pull) + 0.5 * push)).sum(), chosen.sum())


@MODELS.register_module()
class UncertainTokenLoss(nn.Module):
    """:func:`uncertain_tokens` of randomly chosen tokens, with a weight (published: 0.1, on COCO 0.01).

    Args:
        num, as_published: see :func:`choose_uncertain`.
        loss_weight: factor of the loss.
    """

    def __init__(self, *, num: int = 8, as_published: bool = False, loss_weight: float = 0.1) -> None:
        super().__init__()
        self.num = num
        self.as_published = as_published
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, tokens: Tensor, label: Tensor, scores: Tensor) -> Tensor:
        """Weighted loss; ``label`` as in :func:`choose_uncertain`, the rest as in :func:`uncertain_tokens`.

        Raises:
            ValueError: the grid of tokens is too small.
        """
        height, width = (side - 2 * _MARGIN for side in label.shape[-2:])
        if min(height, width) < 1:
            raise ValueError(
                f'uncertain tokens need a grid of at least 7x7 tokens, got {tuple(label.shape[-2:])}: enlarge the crop '
                'of the pipeline or set model.loss_uncertain=None'
            )
        keys = torch.rand(2, len(label), height, width, device=label.device)
        chosen = choose_uncertain(label, keys, num=self.num, as_published=self.as_published)
        return self.loss_weight * uncertain_tokens(features, tokens, scores, *chosen)
