"""Losses: a pure function first, a registered module around it."""

from .balanced_cross_entropy import BalancedCrossEntropyLoss, balanced_cross_entropy
from .certain_tokens import CertainTokenLoss, certain_tokens
from .class_token_contrast import ClassTokenContrastLoss, class_token_contrast
from .confident_consistency import ConfidentConsistencyLoss, confident_consistency
from .dense_energy import DenseEnergyLoss, dense_energy
from .feature_discrepancy import FeatureDiscrepancyLoss, feature_discrepancy
from .gradient_clipping import GradientClippedCrossEntropy, clipped_cross_entropy, clipping_threshold
from .memory_contrast import MemoryContrastLoss, memory_contrast
from .mixture_noise import MixtureNoiseFilter, fit_mixture, mixture_noise
from .multi_label import MultiLabelSoftMarginLoss
from .patch_token_contrast import PatchTokenContrastLoss, patch_token_contrast
from .prototype_contrast import PrototypeContrastLoss, prototype_contrast
from .token_identity import TokenIdentityLoss, token_identity
from .uncertain_tokens import UncertainTokenLoss, choose_uncertain, uncertain_tokens

__all__ = [
    'BalancedCrossEntropyLoss',
    'CertainTokenLoss',
    'ClassTokenContrastLoss',
    'ConfidentConsistencyLoss',
    'DenseEnergyLoss',
    'FeatureDiscrepancyLoss',
    'GradientClippedCrossEntropy',
    'MemoryContrastLoss',
    'MixtureNoiseFilter',
    'MultiLabelSoftMarginLoss',
    'PatchTokenContrastLoss',
    'PrototypeContrastLoss',
    'TokenIdentityLoss',
    'UncertainTokenLoss',
    'balanced_cross_entropy',
    'certain_tokens',
    'choose_uncertain',
    'class_token_contrast',
    'clipped_cross_entropy',
    'clipping_threshold',
    'confident_consistency',
    'dense_energy',
    'feature_discrepancy',
    'fit_mixture',
    'memory_contrast',
    'mixture_noise',
    'patch_token_contrast',
    'prototype_contrast',
    'token_identity',
    'uncertain_tokens',
]
