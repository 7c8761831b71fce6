"""What every refiner takes: images and one or several score maps for each."""

from torch import Tensor


def maps_per_image(images: Tensor, scores: Tensor) -> int:
    """How many score maps (G * B, K, h, w) there are for each of the images (B, 3, H, W); map i is of image i % B.

    Raises:
        ValueError: the number of maps is no multiple of the number of images.
    """
    groups, rest = divmod(len(scores), len(images))
    if rest or not groups:
        raise ValueError(f'{len(images)} images and {len(scores)} score maps: give the same number of maps per image')
    return groups
