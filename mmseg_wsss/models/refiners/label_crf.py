"""Fully connected conditional random field that starts from labels instead of probabilities."""

import math

import torch
from mmseg.registry import MODELS
from torch import Tensor

from .dense_crf import DenseCRF


@MODELS.register_module()
class LabelCRF(DenseCRF):
    """Dense CRF on the arg-max labels of the scores, for pseudo-labels.

    WeakTr, https://arxiv.org/abs/2304.01184, section 4.2, after IRN; dense CRF: https://arxiv.org/abs/1210.5644. The
    difference from :class:`DenseCRF`: the size of the scores does not count. The best class of a pixel gets the
    probability ``gt_prob``, and the other present classes share the rest. CAMs are not probabilities, so this is often
    the better start. The present classes are those with a score above 0 at any pixel; for CAMs masked by image-level
    labels these are the image's tags and background. None of them is negligible, because their number matters.

    Args:
        gt_prob: Probability of a pixel's label, in (0, 1).
        preset: WeakTr's for PASCAL VOC by default; for COCO 2014 it has ``'weaktr-coco-labels'``.
        kwargs: Further arguments of :class:`DenseCRF`; ``negligible`` is 0.

    Raises:
        ValueError: ``gt_prob`` is not in (0, 1).
        ImportError: pydensecrf is not installed.
    """

    def __init__(self, *, gt_prob: float = 0.7, preset: str = 'weaktr-voc-labels', **kwargs) -> None:
        super().__init__(preset=preset, negligible=0.0, **kwargs)
        if not 0 < gt_prob < 1:
            raise ValueError(f'gt_prob is the probability of a label, in (0, 1), got {gt_prob}')
        self.gt_prob = gt_prob

    def extra_repr(self) -> str:
        """Show the values that matter when the model is printed."""
        return f'gt_prob={self.gt_prob}, {super().extra_repr()}'

    def _unary(self, score: Tensor) -> Tensor:
        """Energies (K, H, W) of the arg-max labels; a single class gets all of the probability."""
        others = len(score) - 1
        if others == 0:
            return torch.zeros_like(score)
        unary = torch.full_like(score, -math.log((1 - self.gt_prob) / others))
        return unary.scatter_(0, score.argmax(dim=0, keepdim=True), -math.log(self.gt_prob))
