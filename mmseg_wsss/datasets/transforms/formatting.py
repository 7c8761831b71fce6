"""The last step of a pipeline: tensors and a data sample."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import to_tensor
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from ...structures import set_image_label


@TRANSFORMS.register_module()
class PackWSSSInputs(PackSegInputs):
    """mmseg's ``PackSegInputs`` that also packs image-level labels, several views and the ground truth.

    The differences: where ``results['views']`` (see :class:`MultiView`) has views, ``inputs`` is a dict of ``img`` and
    those views, each a uint8 tensor (3, H, W), otherwise the plain image tensor; ``gt_score`` (C,) becomes the plain
    fields ``gt_label`` and ``gt_score`` of the data sample; ``ground_truth`` (see :class:`LoadGroundTruth`) becomes
    PixelData (1, H, W) of that name; ``valid_box`` is in its meta information.

    Args:
        meta_keys: keys of ``results`` to keep as meta information; absent ones are left out.
    """

    def __init__(
        self,
        *,
        meta_keys: Sequence[str] = (
            'img_path',
            'seg_map_path',
            'ori_shape',
            'img_shape',
            'pad_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'reduce_zero_label',
            'valid_box',
        ),
    ) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack the image, its views and its image-level label; what is absent is left out."""
        packed = super().transform({key: value for key, value in results.items() if key != 'img'})
        images = {'img': results['img'], **results.get('views', {})}
        tensors = {name: _image_tensor(image) for name, image in images.items()}
        packed['inputs'] = tensors if len(tensors) > 1 else tensors['img']
        if 'gt_score' in results:
            score = np.asarray(results['gt_score'])
            set_image_label(packed['data_samples'], np.flatnonzero(score), score.size)
        if 'ground_truth' in results:
            ground_truth = to_tensor(results['ground_truth'][None].astype(np.int64))
            packed['data_samples'].set_data({'ground_truth': PixelData(data=ground_truth)})
        return packed


def _image_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) array to (3, H, W) tensor; OpenCV splits channels ten times as fast as a transposed copy."""
    return torch.from_numpy(np.stack(cv2.split(image)))
