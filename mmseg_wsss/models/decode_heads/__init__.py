"""Decode heads that mmseg does not have as the papers do."""

from .mask_transformer_head import MaskTransformerHead

__all__ = ['MaskTransformerHead']
