"""Refine the scores of one image: read its file at the original size, and take the labels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...datasets.transforms.load_image import read_image


def unit_image(path: str, size: Sequence[int]) -> Tensor:
    """Read an image file as RGB in [0, 1], (1, 3, H, W).

    Args:
        path: The file.
        size: (H, W) of the scores that are to be refined.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or has another size than the scores.
    """
    image = read_image(path)[..., ::-1].copy()  # BGR to RGB
    if image.shape[:2] != tuple(size):
        raise ValueError(f'{path} is {image.shape[:2]}, its prediction {tuple(size)}: they must agree')
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255


def refined_label(
    ids: Tensor, scores: Tensor, *, refiner: nn.Module | None, image: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Refine scores and take the class of the highest at every pixel, the first of equals.

    Args:
        ids: (P,) segmentation ids of the maps.
        scores: (P, H, W) >= 0.
        refiner: None leaves the scores as they are.
        image: (1, 3, H, W) of :func:`unit_image`; only a refiner needs it.

    Returns:
        Ids (H, W), and the scores (P, H, W) that they come from.
    """
    if refiner is not None:
        scores = refiner(image.to(scores.device), scores[None])[0]
    return ids.to(scores.device)[scores.argmax(dim=0)], scores
