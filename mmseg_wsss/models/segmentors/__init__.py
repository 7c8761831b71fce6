"""Segmentors: the `loss()` of each follows the figure of its paper."""

from .base import CAMSegmentor, StartedLosses
from .cam_only import CAMOnly
from .clip_cam import CLIPCAM
from .dupl import DuPL
from .first_stage import FirstStage
from .mctformer import MCTformer
from .more import MoRe
from .online_retraining import OnlineRetraining
from .seco import SeCo
from .single_stage import SingleStage
from .toco import ToCo
from .weaktr import WeakTr

__all__ = [
    'CLIPCAM',
    'CAMOnly',
    'CAMSegmentor',
    'DuPL',
    'FirstStage',
    'MCTformer',
    'MoRe',
    'OnlineRetraining',
    'SeCo',
    'SingleStage',
    'StartedLosses',
    'ToCo',
    'WeakTr',
]
