"""Work on the classes that an image shows instead of on all classes."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...constants import BACKGROUND, IGNORE


class PresentClasses(NamedTuple):
    """The classes of each image of a batch, K places per image; what is left over is filled with absent classes.

    The map of a class that is absent is zero and never becomes a label, so nothing is lost by leaving it out: of the
    20 or 80 classes of a data set an image shows two or three.

    Attributes:
        index: foreground class of every place, long (B, K); an image's own classes first, ascending.
        score: 1 where the class is present and 0 where the place is filled up, (B, K).
    """

    index: Tensor
    score: Tensor

    @classmethod
    def of(cls, scores: Tensor, places: int) -> 'PresentClasses':
        """From image-level labels.

        Args:
            scores: multi-hot (B, C).
            places: K, at least the number of classes in any of the images and at most C.
        """
        index = scores.argsort(dim=1, descending=True, stable=True)[:, :places]
        return cls(index, scores.gather(1, index))

    def select(self, maps: Tensor) -> Tensor:
        """Maps of all classes (G * B, C, h, w), map i of image i % B, to those of the places (G * B, K, h, w)."""
        index = self.index.repeat(len(maps) // len(self.index), 1)
        return maps.gather(1, index[:, :, None, None].expand(-1, -1, *maps.shape[-2:]))

    def to_class(self, label: Tensor) -> Tensor:
        """Labels that count places, (B, h, w) with 0, 1..K and 255, to segmentation ids 0, 1..C and 255."""
        place = (label - 1).clamp(0, self.index.shape[1] - 1).flatten(1)
        named = self.index.gather(1, place).view_as(label) + 1
        return torch.where((label == BACKGROUND) | (label == IGNORE), label, named)
