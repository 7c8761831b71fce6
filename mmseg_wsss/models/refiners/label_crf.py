"""Fully connected conditional random field that starts from labels instead of probabilities."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from mmseg.registry import MODELS

from .dense_crf import DenseCRF

GAUSSIAN = MappingProxyType({'sxy': 4, 'compat': 3})
BILATERAL = MappingProxyType({'sxy': 83, 'srgb': 5, 'compat': 3})


@MODELS.register_module()
class LabelCRF(DenseCRF):
    """Dense CRF on the arg-max labels of the scores, for pseudo-labels (WeakTr, section 4.2, after IRN).

    The difference to :class:`DenseCRF`: how sure a score is does not count. Every pixel's best class gets the
    probability ``gt_prob`` and the other classes present share the rest. CAMs are no probabilities, so this is often
    the better start. A class that scores 0 everywhere is not present: with gated CAMs these are the image's tags and
    background.

    The defaults are WeakTr's for PASCAL VOC; for COCO 2014 it has ``gaussian=dict(sxy=3, compat=3)`` and
    ``bilateral=dict(sxy=50, srgb=5, compat=10)``.

    Args:
        gt_prob: Probability of a pixel's label, in (0, 1).
        num_iter: Mean-field iterations.
        gaussian: As in :class:`DenseCRF`; a key that is left out keeps its default.
        bilateral: As in :class:`DenseCRF`; a key that is left out keeps its default.

    Raises:
        ValueError: ``gt_prob`` is not in (0, 1).
        ImportError: pydensecrf is not installed.
    """

    def __init__(
        self,
        *,
        gt_prob: float = 0.7,
        num_iter: int = 10,
        gaussian: Mapping[str, float] = GAUSSIAN,
        bilateral: Mapping[str, float] = BILATERAL,
    ) -> None:
        super().__init__(num_iter=num_iter, gaussian={**GAUSSIAN, **gaussian}, bilateral={**BILATERAL, **bilateral})
        if not 0 < gt_prob < 1:
            raise ValueError(f'gt_prob is the probability of a label, in (0, 1), got {gt_prob}')
        self.gt_prob = gt_prob

    def extra_repr(self) -> str:
        """Show the values that matter when the model is printed."""
        return f'gt_prob={self.gt_prob}, {super().extra_repr()}'

    def _unary(self, score: np.ndarray) -> np.ndarray:
        """Energies (K, H, W) of the arg-max labels; with one class there is no other that could share the rest."""
        from pydensecrf.utils import unary_from_labels

        count = len(score)
        if count == 1:
            return np.zeros_like(score)
        return unary_from_labels(score.argmax(axis=0), count, self.gt_prob, zero_unsure=False).reshape(score.shape)
