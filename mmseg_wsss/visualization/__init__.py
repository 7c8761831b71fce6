"""Pictures of what a model does, and of what it is shown."""

from .picture_page import PictureRow, colorize, heat, overlay, picture_page, save_page, without_photos
from .sample_page import sample_page

__all__ = ['PictureRow', 'colorize', 'heat', 'overlay', 'picture_page', 'sample_page', 'save_page', 'without_photos']
