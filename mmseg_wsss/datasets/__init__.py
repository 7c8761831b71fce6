"""Data sets with image-level labels and the pipelines that feed them to a model."""

from . import transforms

__all__ = ['transforms']
