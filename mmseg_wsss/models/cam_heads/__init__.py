"""Heads that classify tokens and give class activation maps."""

from .cls_cam_head import ClsCAMHead

__all__ = ['ClsCAMHead']
