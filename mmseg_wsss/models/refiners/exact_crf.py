"""Fully connected conditional random field in PyTorch, by exact sums over all pixels."""

import warnings
from collections.abc import Callable

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..bilateral_sum import bilateral_features, exact_bilateral_sum
from .fully_connected import FullyConnectedCRF


@MODELS.register_module()
class ExactCRF(FullyConnectedCRF):
    """Mean-field inference in a fully connected CRF on the device of the scores, without an extension.

    The difference from :class:`DenseCRF`: its permutohedral lattice is an approximation, here the sums are those of the
    formula (on a GPU in float16 arithmetic). Its time grows with the square of the number of pixels, so it is meant for
    GPUs and for checks; on a CPU it warns of the time it takes. ``docs/performance.md`` compares both.
    Dense CRF: https://arxiv.org/abs/1210.5644.
    """

    def _infer(self, image: Tensor, unary: Tensor) -> Tensor:
        """Probabilities (K, H, W), on the device of ``unary``."""
        if unary.device.type == 'cpu':  # shown once, by Python's default filter
            warnings.warn(
                'ExactCRF on a CPU takes more than 50 times as long as DenseCRF, which gives the same labels at 99.8 % '
                'of the pixels (docs/performance.md)',
                stacklevel=2,
            )
        size, logits = unary.shape[-2:], -unary.flatten(1).T  # (n, K)
        features = bilateral_features(
            image[None].to(logits) / 255, sigma_rgb=self.bilateral['srgb'], sigma_xy=self.bilateral['sxy']
        )[0]

        def bilateral_sum(values: Tensor) -> Tensor:
            return exact_bilateral_sum(features[None], values[None])[0]

        messages = [
            _normalised(gaussian_sum(self.gaussian['sxy'], size), self.gaussian['compat'], logits),
            _normalised(bilateral_sum, self.bilateral['compat'], logits),
        ]
        probability = logits.softmax(dim=1)
        for _ in range(self.num_iter):
            probability = (logits + sum(message(probability) for message in messages)).softmax(dim=1)
        return probability.T.unflatten(1, size)


def _normalised(sums: Callable[[Tensor], Tensor], compat: float, like: Tensor) -> Callable[[Tensor], Tensor]:
    """``compat * sum_j k_ij / sqrt(d_i d_j) v_j`` from ``sums``, which gives ``sum_j k_ij v_j``."""
    scale = sums(like.new_ones(len(like), 1)).rsqrt()
    return lambda values: compat * scale * sums(scale * values)


def gaussian_sum(sigma: float, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """A function that gives ``sum_j exp(-|x_i - x_j|^2 / (2 sigma^2)) v_j`` over the pixels of an image.

    Args:
        sigma: in pixels.
        size: (h, w) of the image.

    Returns:
        (h * w, K) -> (h * w, K); the two directions one after the other.
    """

    def kernel(side: int, like: Tensor) -> Tensor:
        places = torch.arange(side).to(like)
        return torch.exp((places[:, None] - places).div(sigma).square() / -2)

    def sums(values: Tensor) -> Tensor:
        rows, columns = (kernel(side, values) for side in size)
        return (rows @ values.T.unflatten(1, size) @ columns).flatten(1).T  # (K, h, w) in between

    return sums
