"""Segmentors: each `loss()` reads like the figure of its paper."""

from .online_retraining import OnlineRetraining
from .toco import ToCo

__all__ = ['OnlineRetraining', 'ToCo']
