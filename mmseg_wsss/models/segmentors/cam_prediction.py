"""CAMs as a part of a prediction: at the original image size, of the tagged classes."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor


def cams_of_samples(
    segmentor: BaseSegmentor, cams: Tensor, data_samples: Sequence[SegDataSample] | None
) -> list[Tensor]:
    """CAMs without padding, unflipped and resized by mmseg's own post-processing, times the image-level labels.

    Args:
        segmentor: whose post-processing it is.
        cams: (B, C, H, W) in [0, 1) of the network's inputs.
        data_samples: what mmseg knows of the inputs; without it the CAMs stay as they are. A sample without
            image-level labels keeps all classes.

    Returns:
        per image (C, h, w).
    """
    if data_samples is None:
        return list(cams)
    # A channel in front, because mmseg takes a single channel for a sigmoid's.
    padded = F.pad(cams, (0, 0, 0, 0, 1, 0))
    copies = [SegDataSample(metainfo=sample.metainfo) for sample in data_samples]
    originals = [copy.seg_logits.data[1:] for copy in segmentor.postprocess_result(padded, copies)]
    return [
        cam * sample.gt_score[:, None, None] if 'gt_score' in sample else cam
        for cam, sample in zip(originals, data_samples, strict=True)
    ]
