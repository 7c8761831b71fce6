"""What a sample contains beyond mmseg's ``SegDataSample``, and the probabilities of a prediction."""

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
