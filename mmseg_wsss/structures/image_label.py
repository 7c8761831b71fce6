"""Image-level labels on a ``SegDataSample``.

This module alone defines the numbering: foreground class index ``k`` (0..C-1) is segmentation id ``k + 1``;
segmentation id 0 is background, which an image-level label never contains.
"""

from collections.abc import Sequence

import numpy as np
import torch
from mmseg.structures import SegDataSample


def multi_hot(label: Sequence[int], num_classes: int) -> np.ndarray:
    """Turn foreground class indices into a multi-hot vector.

    Args:
        label: foreground class indices, each in 0..num_classes-1; may be empty (a background-only image).
        num_classes: number of foreground classes C.

    Returns:
        float32 array (C,) of zeros and ones.

    Raises:
        ValueError: an index is outside 0..C-1.
    """
    indices = np.asarray(label, dtype=np.int64).reshape(-1)
    if indices.size and (indices.min() < 0 or indices.max() >= num_classes):
        raise ValueError(
            f'image-level label {indices.tolist()} has an index outside 0..{num_classes - 1}; background is not a class'
        )
    score = np.zeros(num_classes, dtype=np.float32)
    score[indices] = 1
    return score


def set_image_label(sample: SegDataSample, label: Sequence[int], num_classes: int) -> SegDataSample:
    """Write ``gt_label`` (long indices) and ``gt_score`` (float multi-hot (C,)) as plain fields of the sample."""
    score = torch.from_numpy(multi_hot(label, num_classes))
    sample.set_field(score.nonzero().flatten(), 'gt_label', dtype=torch.Tensor)
    sample.set_field(score, 'gt_score', dtype=torch.Tensor)
    return sample


def image_scores(samples: Sequence[SegDataSample]) -> torch.Tensor:
    """Stack the multi-hot labels of a batch.

    Returns:
        (B, C) float on the samples' device.

    Raises:
        ValueError: a sample has no image-level label; the message names its image.
    """
    for sample in samples:
        if 'gt_score' not in sample:
            raise ValueError(
                f'{sample.get("img_path", "a sample")} has no image-level label: use ImageTagDataset or add '
                'LoadImageLabels to the pipeline of the data set'
            )
    return torch.stack([sample.gt_score for sample in samples])


def most_classes(samples: Sequence[SegDataSample]) -> int:
    """The largest number of present classes of an image in the batch, at least 1.

    It is computed from shapes alone, without waiting for the device.
    """
    return max(1, *(len(sample.gt_label if 'gt_label' in sample else sample.gt_score) for sample in samples))
