"""WeakTr's second stage: a segmentation network trained on pseudo-labels with gradient clipping."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...compat import ShortInitLog
from ...structures import IGNORE
from ..losses import GradientClippedCrossEntropy
from .parts import FittedDecodeHead


@MODELS.register_module()
class OnlineRetraining(ShortInitLog, FittedDecodeHead, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` that logs what its gradient clipping does.

    WeakTr, https://arxiv.org/abs/2304.01184, section 3.2 and Figure 5. The loss itself works with a plain
    ``EncoderDecoder`` and any decode head. This class adds to the log, separate from the losses:

    - ``clip.share``: clipped pixels among the labelled ones (0 until the mean loss falls to ``start_value``);
    - ``clip.precision``: share of the kept pixels whose pseudo-label is right, and ``clip.precision_all`` the same
      of all labelled pixels; only where every sample has ``ground_truth`` (see ``LoadGroundTruth``).

    Args:
        **kwargs: ``num_classes`` (see ``FittedDecodeHead``), and those of ``EncoderDecoder``;
            ``decode_head.loss_decode`` must hold a ``GradientClippedCrossEntropy``.

    Raises:
        ValueError: the head has no such loss, or its patches are larger than the crop (``data_preprocessor.size``).
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self._clipping = next(
            (name for name, part in self.named_modules() if isinstance(part, GradientClippedCrossEntropy)), None
        )
        if self._clipping is None or not self._clipping.startswith('decode_head.'):
            raise ValueError(
                'OnlineRetraining needs GradientClippedCrossEntropy in decode_head.loss_decode; '
                'without it use EncoderDecoder'
            )
        size = getattr(self.data_preprocessor, 'size', None)
        if size is not None:
            self.get_submodule(self._clipping).check_crop(tuple(size))

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """The losses of the heads, and the diagnostics of the class docstring."""
        losses = super().loss(inputs, data_samples)
        losses.update(self._diagnostics(data_samples))
        return losses

    def _diagnostics(self, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Shares in [0, 1], left on the device, so that nothing waits for it."""
        clipped = self.get_submodule(self._clipping).clipped  # (B, H, W)
        pseudo = torch.cat([sample.gt_sem_seg.data for sample in data_samples])  # (B, H, W)
        labelled = pseudo != self.decode_head.ignore_index
        report = {'clip.share': _share(clipped, labelled)}
        if all('ground_truth' in sample for sample in data_samples):
            ground_truth = torch.cat([_padded_ground_truth(sample, pseudo.shape[-2:]) for sample in data_samples])
            known = labelled & (ground_truth != IGNORE)
            report['clip.precision'] = _share(pseudo == ground_truth, known & ~clipped)
            report['clip.precision_all'] = _share(pseudo == ground_truth, known)
        return report


def _share(hits: Tensor, among: Tensor) -> Tensor:
    """Share of ``hits`` in the pixels of ``among``; 0 where there are none."""
    return (hits & among).sum() / among.sum().clamp(min=1)


def _padded_ground_truth(sample: SegDataSample, size: tuple[int, int]) -> Tensor:
    """The ground-truth mask (1, H, W), padded at the right and below as mmseg pads the pseudo-label.

    Raises:
        ValueError: the mask has not undergone the geometry of its image.
    """
    ground_truth = sample.ground_truth.data
    height, width = ground_truth.shape[-2:]
    if (height, width) != tuple(sample.img_shape[:2]):
        raise ValueError(
            f'{sample.get("img_path", "a sample")}: the ground truth is {height}x{width} pixels, its image '
            f'{sample.img_shape[0]}x{sample.img_shape[1]}: a transform of the pipeline leaves seg_fields out '
            '(RandomCrop of mmseg does not)'
        )
    return F.pad(ground_truth, (0, size[1] - width, 0, size[0] - height), value=IGNORE)
