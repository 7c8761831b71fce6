"""Pictures of what a model does, and of what it is shown."""

from .report import Picture, Report, curves
from .sample_page import colorize, overlay, sample_page

__all__ = ['Picture', 'Report', 'colorize', 'curves', 'overlay', 'sample_page']
