"""Models: every part registers itself in mmseg's registries."""

from .backbones import TokenViT
from .cam_heads import ClsCAMHead
from .data_preprocessor import WSSSDataPreProcessor
from .losses import (
    BalancedCrossEntropyLoss,
    ClassTokenContrastLoss,
    MultiLabelSoftMarginLoss,
    PatchTokenContrastLoss,
)
from .projectors import EMAProjector
from .refiners import PAR, DenseCRF
from .segmentors import ToCo
from .tta import MaxScaleTTA

__all__ = [
    'PAR',
    'BalancedCrossEntropyLoss',
    'ClassTokenContrastLoss',
    'ClsCAMHead',
    'DenseCRF',
    'EMAProjector',
    'MaxScaleTTA',
    'MultiLabelSoftMarginLoss',
    'PatchTokenContrastLoss',
    'ToCo',
    'TokenViT',
    'WSSSDataPreProcessor',
]
