"""Pictures of what a model does, and of what it is shown."""

from .report import LAYERS, Picture, Report, curves
from .sample_page import colorize, overlay, sample_page

__all__ = ['LAYERS', 'Picture', 'Report', 'colorize', 'curves', 'overlay', 'sample_page']
