"""Pictures of what a model does."""

from .picture_page import PictureRow, colorize, heat, overlay, picture_page, save_page, without_photos

__all__ = ['PictureRow', 'colorize', 'heat', 'overlay', 'picture_page', 'save_page', 'without_photos']
