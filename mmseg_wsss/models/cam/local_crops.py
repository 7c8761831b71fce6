"""Where class token contrast cuts its local views (ToCo, https://arxiv.org/abs/2303.01267, section 4.3, Figure 4)."""

import torch
from torch import Tensor

BACKGROUND, UNCERTAIN, FOREGROUND = 0, 1, 2


def cam_to_roi(cam: Tensor, *, low: float, high: float) -> Tensor:
    """Mark every pixel as background (0), uncertain (1) or foreground (2) by its class maximum.

    Args:
        cam: (B, C, H, W) in [0, 1], multiplied by the image-level labels.
        low, high: <= low is background, >= high is foreground.

    Returns:
        long (B, H, W).
    """
    score = cam.amax(dim=1)
    return (score > low).long() + (score >= high).long()


def sample_corners(candidate: Tensor, *, num: int, size: int) -> Tensor:
    """Draw the top-left corners of local crops whose centres are candidates.

    Centres lie at least half a crop away from the border and are drawn without replacement from the candidates; an
    image with fewer candidates than crops uses all positions instead.

    Args:
        candidate: bool (B, H, W); ToCo: what is not foreground, SeCo: what is uncertain.
        num: crops per image.
        size: side of a crop in pixels.

    Returns:
        long (B, num, 2): row and column.

    Raises:
        ValueError: the crops do not fit into the image.
    """
    margin = size // 2
    height, width = (side - 2 * margin for side in candidate.shape[-2:])
    if height < 1 or width < 1 or height * width < num:
        raise ValueError(
            f'{num} local crops of {size} px do not fit into {candidate.shape[-2]}x{candidate.shape[-1]} px: make '
            'model.local_crop_size smaller or the crop of the pipeline larger'
        )
    candidate = candidate[:, margin : margin + height, margin : margin + width].flatten(1)
    enough = candidate.sum(dim=1, keepdim=True) >= num
    # Random keys, those of candidates above all others: the largest are a draw without replacement and host sync.
    keys = torch.rand(candidate.shape, device=candidate.device) + (candidate & enough)
    index = keys.topk(num, dim=1).indices
    return torch.stack((index // width, index % width), dim=-1)


def cut_crops(maps: Tensor, corners: Tensor, size: int) -> Tensor:
    """Cut equally sized squares out of a batch.

    Args:
        maps: (B, ..., H, W).
        corners: long (B, num, 2) from :func:`sample_corners`.
        size: side in pixels.

    Returns:
        (B, num, ..., size, size).
    """
    offset = torch.arange(size, device=maps.device)
    rows = (corners[:, :, 0, None] + offset)[:, :, :, None]  # (B, num, size, 1)
    cols = (corners[:, :, 1, None] + offset)[:, :, None, :]  # (B, num, 1, size)
    batch = torch.arange(len(maps), device=maps.device)[:, None, None, None]
    last = maps.movedim((-2, -1), (1, 2))  # (B, H, W, ...)
    return last[batch, rows, cols].movedim((2, 3), (-2, -1))


def is_positive(roi_crops: Tensor, *, threshold: float = 0.2) -> Tensor:
    """A local crop is positive when its mean ROI value exceeds the threshold, else it shows background only.

    Args:
        roi_crops: (B, num, size, size) with 0, 1, 2.
        threshold: published value 0.2.

    Returns:
        bool (B, num).
    """
    return roi_crops.float().mean(dim=(-2, -1)) > threshold
