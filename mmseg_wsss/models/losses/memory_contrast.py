"""Contrast of tagged class tokens with a memory of earlier ones (L_LIL of SeCo)."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from .reduction import mean_of_counted


def memory_contrast(
    features: Tensor,
    tags: Tensor,
    keys: Tensor,
    key_tags: Tensor,
    *,
    temperature: float = 0.08,
    noise_ratio: float = 10.0,
    as_published: bool = False,
) -> tuple[Tensor, Tensor]:
    """``-log softmax_j(q_i.k_j / t)``, mean over the keys of the same tag, then over anchors (SeCo's L_LIL).

    SeCo, https://arxiv.org/abs/2402.18467. The softmax is over all keys with a tag; background is a tag like a class.

    With P_ij = q_i.k_j / t minus the row's maximum where the tags are equal and 0 elsewhere, an anchor is noise if more
    than ``noise_ratio`` times as many P_ij lie below their mean as not: nearly all keys have its tag, and few of them
    are near. It then counts as background and has no positives.

    Args:
        features: unit vectors q (n, P); gradients flow into them.
        tags: long (n,): 0 background, 1..C, -1 none.
        keys: unit vectors k (K, P).
        key_tags: long (K,), as ``tags``.
        temperature: t.
        noise_ratio: see above.
        as_published: the published code: the row's maximum is left out of the softmax's sum Z, log Z is subtracted once
            for every key instead of every positive, noise has no positives but still a sum, and the number of positives
            of the whole batch (of this process) divides the loss.

    Returns:
        scalar >= 0 (0 without positives), and the tags with noise as background, long (n,).
    """
    with torch.autocast(features.device.type, enabled=False):
        logits = features.float() @ keys.float().T / temperature  # (n, K)
    logits = logits - logits.amax(dim=1, keepdim=True).detach()
    tagged, key_tagged = (tags != -1)[:, None], (key_tags != -1)[None]
    same = tagged & (tags[:, None] == key_tags[None])
    matched = torch.where(same, logits.detach(), 0)
    below = (matched < matched.mean(dim=1, keepdim=True)).sum(dim=1)
    noise = below > noise_ratio * (len(keys) - below)  # (n,)
    positive = same & ~noise[:, None]
    revised = torch.where(noise, 0, tags)
    if as_published:
        return _published_loss(logits, positive, tagged & key_tagged), revised
    # not -inf: without any tagged key the gradient would be NaN
    total = logits.masked_fill(~key_tagged, torch.finfo(logits.dtype).min).logsumexp(dim=1, keepdim=True)
    count = positive.sum(dim=1)
    per_anchor = torch.where(positive, total - logits, 0).sum(dim=1) / count.clamp(min=1)
    return mean_of_counted(per_anchor.sum(), (count > 0).sum()), revised


def _published_loss(logits: Tensor, positive: Tensor, both_tagged: Tensor) -> Tensor:
    """The published formula of logits (n, K) whose row maxima are 0."""
    power = torch.where(both_tagged, logits, 0).exp()
    total = torch.where(power == 1, 0, power).sum(dim=1, keepdim=True)  # 1: the maximum, and what is masked
    matched = torch.where(positive, logits, 0)
    per_anchor = (matched - (total + 1e-12).log()).sum(dim=1)
    counted = (total[:, 0] > 0) & (per_anchor < 0)
    pairs = (matched != 0).sum()
    return -torch.where(counted & (pairs > 0), per_anchor, 0).mean() / pairs.clamp(min=1)


@MODELS.register_module()
class MemoryContrastLoss(nn.Module):
    """:func:`memory_contrast` with a weight (published: 0.5 on VOC, 0.3 on COCO)."""

    def __init__(
        self,
        *,
        temperature: float = 0.08,
        noise_ratio: float = 10.0,
        as_published: bool = False,
        loss_weight: float = 0.5,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, got {temperature}')
        self.temperature = temperature
        self.noise_ratio = noise_ratio
        self.as_published = as_published
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, tags: Tensor, keys: Tensor, key_tags: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted loss and revised tags; arguments as in :func:`memory_contrast`."""
        loss, revised = memory_contrast(
            features,
            tags,
            keys,
            key_tags,
            temperature=self.temperature,
            noise_ratio=self.noise_ratio,
            as_published=self.as_published,
        )
        return self.loss_weight * loss, revised
