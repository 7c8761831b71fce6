"""Decode heads that differ in the papers from mmseg's."""

from .atrous_sum_head import AtrousSumHead
from .mask_transformer_head import MaskTransformerHead

__all__ = ['AtrousSumHead', 'MaskTransformerHead']
