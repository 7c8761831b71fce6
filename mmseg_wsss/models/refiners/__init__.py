"""Refiners of score maps: ``forward(images (B, 3, H, W) in [0, 1], scores (B, K, h, w) >= 0) -> (B, K, H, W)``."""

from .dense_crf import DenseCRF
from .exact_crf import ExactCRF
from .feature_affinity import FeatureAffinity
from .image import refined_label, unit_image
from .interface import importable, on_cpu
from .label_crf import LabelCRF
from .par import PAR
from .presets import CRF_PRESETS

__all__ = [
    'CRF_PRESETS',
    'PAR',
    'DenseCRF',
    'ExactCRF',
    'FeatureAffinity',
    'LabelCRF',
    'importable',
    'on_cpu',
    'refined_label',
    'unit_image',
]
