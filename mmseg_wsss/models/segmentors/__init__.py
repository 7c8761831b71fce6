"""Segmentors: each `loss()` reads like the figure of its paper."""

from .online_retraining import OnlineRetraining
from .toco import ToCo
from .weaktr import WeakTr

__all__ = ['OnlineRetraining', 'ToCo', 'WeakTr']
