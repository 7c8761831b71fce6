"""The image that a refiner follows, read again in its original size."""

from collections.abc import Sequence

import torch
from torch import Tensor

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
