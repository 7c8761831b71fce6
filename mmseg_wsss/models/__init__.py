"""Models: every part registers itself in mmseg's registries."""

from .backbones import TokenViT
from .cam_heads import ClsCAMHead
from .data_preprocessor import WSSSDataPreProcessor
from .losses import (
    BalancedCrossEntropyLoss,
    ClassTokenContrastLoss,
    GradientClippedCrossEntropy,
    MultiLabelSoftMarginLoss,
    PatchTokenContrastLoss,
)
from .projectors import EMAProjector
from .refiners import PAR, DenseCRF
from .segmentors import OnlineRetraining, ToCo
from .tta import MaxScaleTTA, MeanSoftmaxTTA

__all__ = [
    'PAR',
    'BalancedCrossEntropyLoss',
    'ClassTokenContrastLoss',
    'ClsCAMHead',
    'DenseCRF',
    'EMAProjector',
    'GradientClippedCrossEntropy',
    'MaxScaleTTA',
    'MeanSoftmaxTTA',
    'MultiLabelSoftMarginLoss',
    'OnlineRetraining',
    'PatchTokenContrastLoss',
    'ToCo',
    'TokenViT',
    'WSSSDataPreProcessor',
]
