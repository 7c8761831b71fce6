"""Cross-entropy without gradient at pixels whose label is probably wrong (WeakTr's gradient clipping).

WeakTr: https://arxiv.org/abs/2304.01184, section 3.2.
"""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .reduction import mean_over_ranks


def clipping_threshold(loss_map: Tensor, counted: Tensor, patch_size: int) -> Tensor:
    """The larger of the mean over a pixel's patch and the mean over its image (WeakTr Eq. 10, 11 and 14).

    If the sides are not multiples of the patch, the patches at the right and lower border are smaller and have the
    mean of their pixels.

    Args:
        loss_map: (B, H, W) >= 0, and 0 where ``counted`` is.
        counted: (B, H, W) of 0 and 1, the pixels that the means are taken over.
        patch_size: side S of the patches in pixels.

    Returns:
        (B, H, W); a patch or image in which no pixel counts has the mean 0.
    """
    both = torch.stack((loss_map, counted), dim=1)  # (B, 2, H, W)
    # The divisor, smaller at the border, is the same for both and cancels.
    patches = F.avg_pool2d(both, patch_size, stride=patch_size, ceil_mode=True)
    local, overall = _ratio(patches), _ratio(both.mean(dim=(2, 3), keepdim=True))
    threshold = torch.maximum(local, overall)
    height, width = loss_map.shape[-2:]
    return threshold.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)[:, :height, :width]


def _ratio(pair: Tensor) -> Tensor:
    """Sums and counts (B, 2, h, w) to means (B, h, w), 0 / 0 being 0."""
    return pair[:, 0] / pair[:, 1].clamp(min=torch.finfo(pair.dtype).tiny)


def clipped_cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    start_value: float = 1.2,
    patch_size: int = 120,
    batch_threshold: bool = False,
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """Per-pixel cross-entropy G without gradient where it is above its threshold (WeakTr section 3.2, Eq. 9 to 17).

    With lambda_i the mean of G over the pixel's patch and lambda the mean over its image, pixels with
    ``G > max(lambda_i, lambda)`` are clipped, provided that the mean of G over the batch (of all processes) is at most
    tau. A clipped pixel keeps the value of its threshold, which is a constant, as in the published code.

    Args:
        logits: (B, K, H, W), K >= 2.
        label: long (B, H, W), in 0..K-1 or ``ignore_index``.
        start_value: tau.
        patch_size: side S of the patches in pixels.
        batch_threshold: the published code instead of the paper: G is averaged over the batch first, so that all
            images share one threshold map, and ignored pixels count as zeros in every mean.
        ignore_index: label of pixels that have no loss, are never clipped and (by the paper's rule) are in no mean.

    Returns:
        the loss map (B, H, W), float32, with gradient at the kept pixels only, and the clipped pixels, bool (B, H, W).
    """
    with torch.autocast(logits.device.type, enabled=False):
        loss_map = F.cross_entropy(logits.float(), label, ignore_index=ignore_index, reduction='none')
        value = loss_map.detach()
        counted = torch.ones_like(value) if batch_threshold else (label != ignore_index).to(value.dtype)
        total = mean_over_ranks(torch.stack((value.sum(), counted.sum())))
        learning = _ratio(total[None, :, None, None])[0, 0, 0] <= start_value
        if batch_threshold:
            value, counted = mean_over_ranks(value.mean(dim=0, keepdim=True)), counted[:1]
        threshold = clipping_threshold(value, counted, patch_size)
        # not `if learning`: that would wait for the GPU
        clipped = (loss_map.detach() > threshold) & learning
        return torch.where(clipped, threshold, loss_map), clipped


@MODELS.register_module()
class GradientClippedCrossEntropy(nn.Module):
    """:func:`clipped_cross_entropy` for every mmseg decode head, averaged over all pixels.

    The mean is over all pixels, ignored ones included, as in mmseg's ``CrossEntropyLoss`` and the published code.

    Args:
        start_value: tau, the mean cross-entropy below which clipping starts.
        patch_size: side S of the patches in pixels of the training crop, not more than the crop; the best one in the
            paper is a quarter of the crop (120 of 480).
        batch_threshold: one threshold map for the batch, as in the published code.
        loss_weight: factor of the loss.
        loss_name: its name in the log; mmengine sums everything with ``loss`` in its name.

    Attributes:
        clipped: bool (B, H, W), the clipped pixels of the last call; ``None`` before it.

    Raises:
        ValueError: ``start_value`` is not positive or ``patch_size`` below one pixel.
    """

    def __init__(
        self,
        *,
        start_value: float = 1.2,
        patch_size: int = 120,
        batch_threshold: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_seg',
    ) -> None:
        super().__init__()
        if not start_value > 0:
            raise ValueError(f'start_value of GradientClippedCrossEntropy (tau) must be positive, got {start_value}')
        if patch_size != int(patch_size) or patch_size < 1:
            raise ValueError(
                f'patch_size of GradientClippedCrossEntropy must be a whole number of pixels >= 1, got {patch_size}'
            )
        self.start_value = start_value
        self.patch_size = int(patch_size)
        self.batch_threshold = batch_threshold
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.clipped: Tensor | None = None

    def check_crop(self, size: tuple[int, int]) -> None:
        """Refuse crops (height, width) smaller than one patch.

        Raises:
            ValueError: the patch is larger than a side of the crop.
        """
        if self.patch_size > min(size):
            raise ValueError(
                f'patch_size of GradientClippedCrossEntropy is {self.patch_size}, but the training crop is '
                f'{size[0]}x{size[1]} pixels: set loss_decode.patch_size to a quarter of the crop '
                f'({max(1, min(size) // 4)})'
            )

    def forward(
        self,
        logits: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        avg_factor: float | None = None,
        **kwargs,
    ) -> Tensor:
        """Weighted loss.

        Args:
            logits, label, ignore_index: as in :func:`clipped_cross_entropy`.
            weight: optional pixel weights (B, H, W), applied after clipping.
            avg_factor: divides the sum instead of the number of pixels.

        Raises:
            ValueError: a head with one output channel, or a crop smaller than one patch.
        """
        if logits.shape[1] < 2:
            raise ValueError(
                'GradientClippedCrossEntropy needs a channel for each class, background included, but the decode head '
                'has one: set decode_head.out_channels to num_classes'
            )
        self.check_crop(tuple(label.shape[-2:]))
        loss_map, self.clipped = clipped_cross_entropy(
            logits,
            label,
            start_value=self.start_value,
            patch_size=self.patch_size,
            batch_threshold=self.batch_threshold,
            ignore_index=ignore_index,
        )
        if weight is not None:
            loss_map = loss_map * weight
        return self.loss_weight * loss_map.sum() / (loss_map.numel() if avg_factor is None else avg_factor)
