"""Fully connected conditional random field that starts from labels instead of probabilities."""

import math

import torch
from mmseg.registry import MODELS
from torch import Tensor

from .dense_crf import DenseCRF


@MODELS.register_module()
class LabelCRF(DenseCRF):
    """Dense CRF on the arg-max labels of the scores, for pseudo-labels (WeakTr, section 4.2, after IRN).

    The difference to :class:`DenseCRF`: how sure a score is does not count. Every pixel's best class gets the
    probability ``gt_prob`` and the other classes present share the rest. CAMs are no probabilities, so this is often
    the better start. The classes present are those that do not score 0 everywhere, with gated CAMs the image's tags and
    background; none of them is negligible, because their number counts.

    Args:
        gt_prob: Probability of a pixel's label, in (0, 1).
        preset: WeakTr's for PASCAL VOC by default; for COCO 2014 it has ``'weaktr-coco-labels'``.
        kwargs: Further ones of :class:`DenseCRF`; ``negligible`` is 0.

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
        """Energies (K, H, W) of the arg-max labels; with one class there is no other that could share the rest."""
        others = len(score) - 1
        if others == 0:
            return torch.zeros_like(score)
        unary = torch.full_like(score, -math.log((1 - self.gt_prob) / others))
        return unary.scatter_(0, score.argmax(dim=0, keepdim=True), -math.log(self.gt_prob))
