"""Models: every part registers itself in mmseg's registries."""

from .refiners import PAR

__all__ = ['PAR']
