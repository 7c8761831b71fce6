"""Decode heads that differ in the papers from mmseg's."""

from .mask_transformer_head import MaskTransformerHead

__all__ = ['MaskTransformerHead']
