"""Refiners of score maps: ``forward(images (B, 3, H, W) in [0, 1], scores (B, K, h, w) >= 0) -> (B, K, H, W)``."""

from .dense_crf import DenseCRF
from .image import unit_image
from .label_crf import LabelCRF
from .par import PAR

__all__ = ['PAR', 'DenseCRF', 'LabelCRF', 'unit_image']
