"""What a sample carries beyond mmseg's ``SegDataSample``, and what a network says of it."""

from ..constants import BACKGROUND, IGNORE
from .image_label import image_scores, most_classes, multi_hot, set_image_label
from .prediction import class_probabilities

__all__ = [
    'BACKGROUND',
    'IGNORE',
    'class_probabilities',
    'image_scores',
    'most_classes',
    'multi_hot',
    'set_image_label',
]
