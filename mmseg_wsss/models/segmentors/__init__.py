"""Segmentors: each `loss()` reads like the figure of its paper."""

from .toco import ToCo

__all__ = ['ToCo']
