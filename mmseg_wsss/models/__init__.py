"""Models: every part registers itself in mmseg's registries."""

from .backbones import TokenViT
from .cam_heads import (
    AAFCAMHead,
    ClsCAMHead,
    EqualWeights,
    FixedQueryWeights,
    MapPooledWeights,
    MCTCAMHead,
    OutputPooledWeights,
)
from .data_preprocessor import WSSSDataPreProcessor
from .decode_heads import AtrousSumHead, MaskTransformerHead
from .losses import (
    BalancedCrossEntropyLoss,
    CertainTokenLoss,
    ClassTokenContrastLoss,
    DenseEnergyLoss,
    GradientClippedCrossEntropy,
    MemoryContrastLoss,
    MultiLabelSoftMarginLoss,
    PatchTokenContrastLoss,
    PrototypeContrastLoss,
    TokenIdentityLoss,
    UncertainTokenLoss,
)
from .projectors import ClassGraph, EMAProjector
from .refiners import PAR, DenseCRF, ExactCRF, LabelCRF
from .segmentors import (
    CAMSegmentor,
    FirstStage,
    MCTformer,
    MoRe,
    OnlineRetraining,
    SeCo,
    SingleStage,
    StartedLosses,
    ToCo,
    WeakTr,
)
from .tta import MaxScaleTTA, MeanSoftmaxTTA

__all__ = [
    'PAR',
    'AAFCAMHead',
    'AtrousSumHead',
    'BalancedCrossEntropyLoss',
    'CAMSegmentor',
    'CertainTokenLoss',
    'ClassGraph',
    'ClassTokenContrastLoss',
    'ClsCAMHead',
    'DenseCRF',
    'DenseEnergyLoss',
    'EMAProjector',
    'EqualWeights',
    'ExactCRF',
    'FirstStage',
    'FixedQueryWeights',
    'GradientClippedCrossEntropy',
    'LabelCRF',
    'MCTCAMHead',
    'MCTformer',
    'MapPooledWeights',
    'MaskTransformerHead',
    'MaxScaleTTA',
    'MeanSoftmaxTTA',
    'MemoryContrastLoss',
    'MoRe',
    'MultiLabelSoftMarginLoss',
    'OnlineRetraining',
    'OutputPooledWeights',
    'PatchTokenContrastLoss',
    'PrototypeContrastLoss',
    'SeCo',
    'SingleStage',
    'StartedLosses',
    'ToCo',
    'TokenIdentityLoss',
    'TokenViT',
    'UncertainTokenLoss',
    'WSSSDataPreProcessor',
    'WeakTr',
]
