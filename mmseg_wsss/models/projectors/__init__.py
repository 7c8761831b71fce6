"""Projection heads and the graph of class tokens."""

from .class_graph import ClassGraph
from .ema_projector import EMAProjector, ProjectionHead

__all__ = ['ClassGraph', 'EMAProjector', 'ProjectionHead']
