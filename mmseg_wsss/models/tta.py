"""Test-time augmentation that keeps the merged logits, so that a refiner can follow."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor


@MODELS.register_module()
class MaxScaleTTA(BaseTTAModel):
    """Sum of the logits over the flips of a scale, maximum over the scales, arg-max (ToCo's inference).

    The difference from mmseg's ``SegTTAModel``: it takes the maximum instead of the mean of softmax, and the merged
    logits stay in the sample, so that a refiner can follow (``RefiningEvaluator``).

    Args:
        module: The segmentor, as a config or built; its ``seg_logits`` have the original size and are not flipped.
        data_preprocessor: Replaces that of ``module`` if ``module`` is a config.
    """

    def merge_preds(self, data_samples_list: Sequence[Sequence[SegDataSample]]) -> list[SegDataSample]:
        """Merge the predictions of one image after the other.

        Args:
            data_samples_list: For each image its samples, one per augmentation.

        Returns:
            Per image its first sample with ``seg_logits`` (K, H, W) and ``pred_sem_seg`` (1, H, W) replaced.
        """
        return [self._merge(samples) for samples in data_samples_list]

    def _merge(self, samples: Sequence[SegDataSample]) -> SegDataSample:
        """The samples of one image."""
        merged = self.merge_logits(samples)
        result = samples[0]
        result.seg_logits = PixelData(data=merged)
        result.pred_sem_seg = PixelData(data=merged.argmax(dim=0, keepdim=True))
        return result

    def merge_logits(self, samples: Sequence[SegDataSample]) -> Tensor:
        """Logits (K, H, W) of one image from those of its samples."""
        scales: dict[tuple[int, ...], Tensor] = {}
        for sample in samples:
            scale, logits = tuple(sample.img_shape), sample.seg_logits.data
            scales[scale] = scales[scale] + logits if scale in scales else logits
        return torch.stack(list(scales.values())).amax(dim=0)


@MODELS.register_module()
class MeanSoftmaxTTA(MaxScaleTTA):
    """Mean of the softmax over all scales and flips, arg-max (WeakTr's second stage, Segmenter, mmseg).

    The difference from mmseg's ``SegTTAModel``: the merged probabilities stay in the sample, as their logarithm in
    ``seg_logits``, so that a refiner can follow.
    """

    def merge_logits(self, samples: Sequence[SegDataSample]) -> Tensor:
        """Logarithm of the mean probability (K, H, W), whose softmax is that mean."""
        total = sum(sample.seg_logits.data.float().softmax(dim=0) for sample in samples)
        return (total / len(samples)).clamp(min=torch.finfo(total.dtype).tiny).log()
