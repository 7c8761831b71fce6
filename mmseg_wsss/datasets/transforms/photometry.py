"""Colour changes without a change of geometry."""

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional


def _inside_valid_box(results: dict, change: Callable[[np.ndarray], np.ndarray]) -> dict:
    """Replace ``img`` by what ``change`` makes of the part that shows the image; padding becomes 0."""
    image = results['img']
    h0, h1, w0, w1 = results.get('valid_box', (0, image.shape[0], 0, image.shape[1]))
    changed = change(image[h0:h1, w0:w1])
    if changed.shape != image.shape:
        padded = np.zeros_like(image)
        padded[h0:h1, w0:w1] = changed
        changed = padded
    results['img'] = changed
    return results


@TRANSFORMS.register_module()
class DINOPhotometry(BaseTransform):
    """Colour jitter, gray, blur and solarisation of DINO (https://arxiv.org/abs/2104.14294), as ToCo uses them.

    In this order: jitter (brightness 0.4, contrast 0.4, saturation 0.2, hue 0.1, in random order) with ``jitter_prob``;
    gray with ``gray_prob``; Gaussian blur with ``blur_prob`` and a sigma drawn from 0.1..2 pixels; solarisation (values
    of 128 and more are inverted) with ``solarize_prob``.

    If ``results['valid_box']`` exists, only the image inside it is changed: padding stays 0, is not blurred into the
    image and does not count in the mean of the contrast jitter. (ToCo's code pads first and then changes the whole
    crop.) It uses torch's global random state; mmengine seeds it in each worker. mmpretrain's transforms have neither
    the box nor Pillow's HSV; torchvision's blur differs by 1 in up to 14 % of the values.

    Replaces ``img`` (uint8 BGR (H, W, 3)); the previous array is not modified.

    Args:
        blur_prob: probability of the blur; ToCo: 1.0 for the main crop, 0.1 for the second view, 0.5 for local views.
        solarize_prob: probability of the solarisation; ToCo: 0.2 for the second view, otherwise 0.
        jitter_prob, gray_prob: probabilities of jitter and gray; DINO and ToCo: 0.8 and 0.2, MoRe: 0.5 and 0.
    """

    def __init__(
        self, *, blur_prob: float, solarize_prob: float = 0.0, jitter_prob: float = 0.8, gray_prob: float = 0.2
    ) -> None:
        probs = dict(blur_prob=blur_prob, solarize_prob=solarize_prob, jitter_prob=jitter_prob, gray_prob=gray_prob)
        for name, prob in probs.items():
            if not 0 <= prob <= 1:
                raise ValueError(f'{name} is a probability, but {prob} is not in 0..1')
        self.blur_prob = blur_prob
        self.solarize_prob = solarize_prob
        self.jitter_prob = jitter_prob
        self.gray_prob = gray_prob
        # torchvision's own operations are fastest on Pillow images (9 ms against 11 ms on tensors for 448 x 448), ...
        self.color = v2.Compose(
            [
                v2.RandomApply([v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=jitter_prob),
                v2.RandomGrayscale(p=gray_prob),
            ]
        )

    def transform(self, results: dict) -> dict:
        """Change the colours inside ``valid_box``; the padding stays black."""
        return _inside_valid_box(results, self._change)

    def _change(self, image: np.ndarray) -> np.ndarray:
        """Change a BGR image (h, w, 3); jitter and gray depend on the channel order and get RGB."""
        # OpenCV converts between BGR and RGB forty times as fast as a numpy copy
        rgb = np.asarray(self.color(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))))
        if torch.rand(1).item() < self.blur_prob:
            sigma = torch.empty(1).uniform_(0.1, 2).item()
            # ... except the blur: 0.2-0.7 ms in OpenCV, which cuts the kernel at 3 sigma, against 7 ms.
            rgb = cv2.GaussianBlur(rgb, (0, 0), sigma)
        if torch.rand(1).item() < self.solarize_prob:
            rgb = np.where(rgb < 128, rgb, 255 - rgb)
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(blur_prob={self.blur_prob}, solarize_prob={self.solarize_prob}, '
            f'jitter_prob={self.jitter_prob}, gray_prob={self.gray_prob})'
        )


@TRANSFORMS.register_module()
class StrongPhotometry(BaseTransform):
    """RandAugment (https://arxiv.org/abs/1909.13719) with colours alone, as DuPL uses it for its strong view.

    ``num_ops`` of seven operations are drawn with replacement and applied in that order: AutoContrast, Equalize,
    Posterize, Color, Contrast, Brightness, Sharpness. The magnitude goes evenly through the range of an operation: 0 to
    6 bits for Posterize, factors of 0.1 to 1.9 for the last four (published: 10 of 30, so 2 bits and a factor of 0.7).

    Like :class:`DINOPhotometry` it changes the image inside ``valid_box`` alone and uses torch's global random state.
    (The published code changes the padding too, which then counts in the histograms of AutoContrast and Equalize.)

    Replaces ``img`` (uint8 BGR (H, W, 3)); the previous array is not modified.

    Args:
        num_ops: how many operations.
        magnitude: from 0 to 30.

    Raises:
        ValueError: ``num_ops`` is negative or the magnitude is not in 0..30.
    """

    def __init__(self, *, num_ops: int = 5, magnitude: int = 10) -> None:
        if num_ops < 0 or not 0 <= magnitude <= 30:
            raise ValueError(f'num_ops must be 0 or more and magnitude in 0..30, got {num_ops} and {magnitude}')
        self.num_ops, self.magnitude = num_ops, magnitude
        bits, factor = int(magnitude / 30 * 6), 0.1 + magnitude / 30 * 1.8
        # on Pillow images torchvision calls Pillow's own operations, those of the published code
        self.operations = (
            functional.autocontrast,
            functional.equalize,
            partial(functional.posterize, bits=bits),
            partial(functional.adjust_saturation, saturation_factor=factor),
            partial(functional.adjust_contrast, contrast_factor=factor),
            partial(functional.adjust_brightness, brightness_factor=factor),
            partial(functional.adjust_sharpness, sharpness_factor=factor),
        )

    def transform(self, results: dict) -> dict:
        """Change the colours inside ``valid_box``; the padding stays black."""
        drawn = torch.randint(len(self.operations), (self.num_ops,)).tolist()
        return _inside_valid_box(results, lambda image: self.apply(image, drawn))

    def apply(self, image: np.ndarray, drawn: Sequence[int]) -> np.ndarray:
        """The operations of these indices on a BGR image (h, w, 3)."""
        rgb = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        for index in drawn:
            rgb = self.operations[index](rgb)
        return cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_ops={self.num_ops}, magnitude={self.magnitude})'
