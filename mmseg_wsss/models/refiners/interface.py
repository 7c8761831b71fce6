"""The input of every refiner, images and one or several score maps for each, and where it runs."""

from typing import Any

from mmseg.registry import MODELS
from torch import Tensor


def maps_per_image(images: Tensor, scores: Tensor) -> int:
    """How many score maps (G * B, K, h, w) there are for each of the images (B, 3, H, W); map i is of image i % B.

    Raises:
        ValueError: the number of maps is not a multiple of the number of images.
    """
    groups, rest = divmod(len(scores), len(images))
    if rest or not groups:
        raise ValueError(f'{len(images)} images and {len(scores)} score maps: give the same number of maps per image')
    return groups


def on_cpu(refiner: Any) -> bool:
    """Whether a refiner runs on the CPU only and benefits from worker processes: it has ``on_cpu = True``."""
    return getattr(refiner, 'on_cpu', False)


def importable(refiner: dict) -> dict:
    """The config of a refiner with its class instead of its name.

    A worker process then imports the class and needs no registry.
    """
    kind = refiner['type']
    return {**refiner, 'type': MODELS.get(kind) if isinstance(kind, str) else kind}
