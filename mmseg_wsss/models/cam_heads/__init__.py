"""Heads that classify tokens and give class activation maps."""

from .aaf_cam_head import AAFCAMHead
from .cls_cam_head import ClsCAMHead
from .head_weights import EqualWeights, FixedQueryWeights, HeadWeights, MapPooledWeights, OutputPooledWeights
from .mct_cam_head import MCTCAMHead
from .text_cam_head import TextCAMHead

__all__ = [
    'AAFCAMHead',
    'ClsCAMHead',
    'EqualWeights',
    'FixedQueryWeights',
    'HeadWeights',
    'MCTCAMHead',
    'MapPooledWeights',
    'OutputPooledWeights',
    'TextCAMHead',
]
