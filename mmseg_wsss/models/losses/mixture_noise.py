"""Noise in pseudo-labels: the pixels of the high component of a mixture of losses (DuPL, arXiv 2403.11184).

https://arxiv.org/abs/2403.11184; the same idea for whole images: DivideMix, https://arxiv.org/abs/2002.07394.
"""

from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

_RIDGE = 5e-4  # added to the variances
_ITERATIONS = 10  # of two means and of expectation maximisation
_TOLERANCE = 1e-2  # mean log likelihood: an image stops where it changes less


class Mixture(NamedTuple):
    """Two Gaussians per image, each field (B, 2)."""

    share: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, values: Tensor, weight: Tensor) -> 'Mixture':
        """From values (B, P) and what either component has of each (2, B, P); an empty one has the mean of both."""
        count, total = weight.sum(dim=-1), (weight * values).sum(dim=-1)  # (2, B)
        empty, count = count == 0, count.clamp(min=torch.finfo(weight.dtype).tiny)
        mean = torch.where(empty, total.sum(dim=0) / count.sum(dim=0), total / count)
        variance = (weight * (values - mean[..., None]).square()).sum(dim=-1) / count + _RIDGE
        return cls((count / count.sum(dim=0)).T, mean.T, variance.T)

    def log_density(self, values: Tensor) -> Tensor:
        """Logarithm of share times density of each component at values (B, P), without a constant; (2, B, P)."""
        share, mean, variance = (field.T[..., None] for field in self)
        return share.log() - 0.5 * (variance.log() + (values - mean).square() / variance)


def fit_mixture(values: Tensor, fitted: Tensor) -> Mixture:
    """Two Gaussians by expectation maximisation from a start by two means; all images at once, without host sync.

    Args:
        values: (B, P).
        fitted: bool (B, P), which values count. An image without any, or with equal ones alone, gives finite numbers.

    Returns:
        the component of the smaller start first.
    """
    share = fitted.to(values.dtype)
    infinity = torch.full_like(values, torch.inf)
    centres = torch.stack((
        torch.where(fitted, values, infinity).amin(dim=1), torch.where(fitted, values, -infinity).amax(dim=1)
    ))  # fmt: skip
    for _ in range(_ITERATIONS):
        upper = values > centres.mean(dim=0)[:, None]
        mixture = Mixture.of(values, torch.stack((share * ~upper, share * upper)))
        centres = mixture.mean.T
    count = share.sum(dim=1).clamp(min=1)
    likelihood, moving = torch.full_like(count, -torch.inf), torch.ones_like(count, dtype=torch.bool)
    for _ in range(_ITERATIONS):
        joint = mixture.log_density(values)
        total = joint.logsumexp(dim=0)
        found = Mixture.of(values, share * (joint - total).exp())
        mixture = Mixture(*(torch.where(moving[:, None], new, old) for new, old in zip(found, mixture, strict=True)))
        before, likelihood = likelihood, (share * total).sum(dim=1) / count
        moving = moving & ~((likelihood - before).abs() < _TOLERANCE)
    return mixture


def mixture_noise(
    loss: Tensor,
    foreground: Tensor,
    *,
    min_loss: float = 0.1,
    min_count: int = 1000,
    min_gap: float = 1.0,
    confidence: float = 0.95,
    as_published: bool = False,
) -> Tensor:
    """Which foreground pixels have a label that is probably wrong, each image alone.

    The mixture is fitted to the losses above ``min_loss`` of the foreground. If its means are far apart, the pixels
    that belong to the higher component are noise.

    Args:
        loss: per-pixel cross-entropy (B, H, W) of the prediction against the label, without gradient.
        foreground: bool (B, H, W), pixels whose label is a foreground class.
        min_loss: smaller losses are not fitted.
        min_count: an image with no more fitted pixels has no noise.
        min_gap: neither has one whose means differ by no more.
        confidence: posterior of the higher component that noise exceeds.
        as_published: a wide higher component may also claim pixels of a loss below the mean of the lower one, even
            those below ``min_loss`` that nothing was fitted to, as in the published code.

    Returns:
        bool (B, H, W).
    """
    values = loss.flatten(1)
    fitted = foreground.flatten(1) & (values > min_loss)
    mixture = fit_mixture(values, fitted)
    lower, higher = mixture.mean.amin(dim=1), mixture.mean.amax(dim=1)
    posterior = mixture.log_density(values).softmax(dim=0)
    of_higher = torch.where((mixture.mean[:, 1] >= mixture.mean[:, 0])[:, None], posterior[1], posterior[0])
    enough = (fitted.sum(dim=1) > min_count) & (higher - lower > min_gap)
    noise = foreground.flatten(1) & (of_higher > confidence) & enough[:, None]
    if not as_published:
        noise = noise & (values > lower[:, None])  # which is above `min_loss`
    return noise.view_as(foreground)


@MODELS.register_module()
class MixtureNoiseFilter(nn.Module):
    """:func:`mixture_noise` with its settings."""

    def __init__(
        self,
        *,
        min_loss: float = 0.1,
        min_count: int = 1000,
        min_gap: float = 1.0,
        confidence: float = 0.95,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.settings = dict(
            min_loss=min_loss, min_count=min_count, min_gap=min_gap, confidence=confidence, as_published=as_published
        )

    def forward(self, loss: Tensor, foreground: Tensor) -> Tensor:
        """Noise as bool (B, H, W); arguments as in :func:`mixture_noise`."""
        return mixture_noise(loss, foreground, **self.settings)
