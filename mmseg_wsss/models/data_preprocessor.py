"""Several views of one image through mmseg's preprocessor."""

from typing import Any

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class WSSSDataPreProcessor(SegDataPreProcessor):
    """mmseg's ``SegDataPreProcessor`` for inputs that may be a dict of views.

    The difference: if ``inputs`` is a dict, its ``img`` and the data samples go through mmseg's preprocessor, and every
    other view gets the same channel order and normalisation; each becomes one tensor (B, 3, H, W).

    Args:
        bgr_to_rgb, rgb_to_bgr: reverse the channels, at most one of them.
        size, size_divisor: padding of training images, as mmseg has it; without both none is added but what images of
            different sizes need to be stacked, so that the crop of the pipeline is the size of the batch.
        **kwargs: further arguments of ``SegDataPreProcessor``; ``mean`` and ``std`` (per channel, RGB when
            ``bgr_to_rgb``) belong to the pretrained weights.
    """

    def __init__(
        self,
        *,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        **kwargs,
    ) -> None:
        if size is None and size_divisor is None:
            size_divisor = 1
        super().__init__(bgr_to_rgb=bgr_to_rgb, rgb_to_bgr=rgb_to_bgr, size=size, size_divisor=size_divisor, **kwargs)
        # mmseg and its fork use different names for this
        self._reverse_channels = bgr_to_rgb or rgb_to_bgr

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Normalise and stack; see the class.

        Raises:
            ValueError: the views have different sizes.
        """
        inputs = data['inputs']
        if not isinstance(inputs, dict):
            return super().forward(data, training)
        out = super().forward(dict(data, inputs=inputs['img']), training)
        views = {name: self._stack(view) for name, view in inputs.items() if name != 'img'}
        views = dict(img=out['inputs'], **views)
        sizes = {name: tuple(view.shape[-2:]) for name, view in views.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f'the views have different sizes {sizes}: crop_size of the geometry of MultiView, scale of the crop of '
                f'its free views and, where it is set, data_preprocessor.size (here {self.size}) must be the same'
            )
        return dict(out, inputs=views)

    def _stack(self, view: list[Tensor]) -> Tensor:
        images = torch.stack([image.to(self.device, non_blocking=True) for image in view])
        if self._reverse_channels:
            images = images.flip(1)
        images = images.float()
        return (images - self.mean) / self.std if self._enable_normalize else images

    def to_unit(self, images: Tensor) -> Tensor:
        """Undo the normalisation: (B, 3, H, W) in [0, 1], in the channel order of ``mean`` (RGB)."""
        if self._enable_normalize:
            images = images * self.std + self.mean
        return (images / 255).clamp(0, 1)
