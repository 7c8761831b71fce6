"""The prediction of a segmentation network for an image."""

from mmseg.structures import SegDataSample
from torch import Tensor


def class_probabilities(sample: SegDataSample) -> Tensor:
    """Softmax (K, H, W) of the ``seg_logits`` of a prediction, float32.

    Raises:
        ValueError: there are none, they have one channel (mmseg's sigmoid, of which a softmax would be 1 everywhere),
            or they are not finite; the message names the image.
    """
    path = sample.get('img_path', 'a sample')
    if 'seg_logits' not in sample:
        raise ValueError(f'{path}: the prediction has no seg_logits')
    logits = sample.seg_logits.data
    if len(logits) == 1:
        raise ValueError(
            f'{path}: the seg_logits have one channel, for a sigmoid, and one per class is needed: train the decode '
            'head with out_channels=2'
        )
    scores = logits.float().softmax(dim=0)
    if scores.isnan().any():
        raise ValueError(f'{path}: the network gives seg_logits that are not finite')
    return scores
