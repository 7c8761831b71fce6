"""Data sets with image-level labels and the pipelines that feed them to a model."""

from . import image_labels, transforms
from .image_tag_dataset import ImageTagDataset
from .palette import voc_palette
from .pseudo_mask_dataset import PseudoMaskDataset

__all__ = ['ImageTagDataset', 'PseudoMaskDataset', 'image_labels', 'transforms', 'voc_palette']
