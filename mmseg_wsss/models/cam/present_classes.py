"""Compute with the present classes of an image instead of all classes."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...constants import BACKGROUND, IGNORE


class PresentClasses(NamedTuple):
    """The present classes of each image of a batch, K per image; an image with fewer is padded with absent classes.

    The map of a class that is absent is zero and never becomes a label, so nothing is lost by leaving it out: of the
    20 or 80 classes of a data set an image shows two or three.

    Attributes:
        index: foreground classes, long (B, K); the present ones first, ascending.
        score: 1 for a present class and 0 for padding, (B, K).
    """

    index: Tensor
    score: Tensor

    @classmethod
    def of(cls, scores: Tensor, count: int) -> 'PresentClasses':
        """From image-level labels.

        Args:
            scores: multi-hot (B, C).
            count: K, at least the number of present classes of every image and at most C.
        """
        index = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
        return cls(index, scores.gather(1, index))

    def select(self, maps: Tensor) -> Tensor:
        """Take the K maps (G * B, K, h, w) of image i % B from map i of all classes (G * B, C, h, w)."""
        index = self.index.repeat(len(maps) // len(self.index), 1)
        return maps.gather(1, index[:, :, None, None].expand(-1, -1, *maps.shape[-2:]))

    def to_class(self, label: Tensor) -> Tensor:
        """Turn labels (B, h, w) over the K classes, 0, 1..K and 255, into segmentation ids 0, 1..C and 255."""
        position = (label - 1).clamp(0, self.index.shape[1] - 1).flatten(1)
        named = self.index.gather(1, position).view_as(label) + 1
        return torch.where((label == BACKGROUND) | (label == IGNORE), label, named)
