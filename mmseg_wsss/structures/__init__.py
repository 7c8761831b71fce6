"""What a sample carries beyond mmseg's ``SegDataSample``."""

from ..constants import BACKGROUND, IGNORE
from .image_label import image_scores, most_classes, multi_hot, set_image_label

__all__ = ['BACKGROUND', 'IGNORE', 'image_scores', 'most_classes', 'multi_hot', 'set_image_label']
