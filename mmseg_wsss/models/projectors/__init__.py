"""Projection heads."""

from .ema_projector import EMAProjector, ProjectionHead

__all__ = ['EMAProjector', 'ProjectionHead']
