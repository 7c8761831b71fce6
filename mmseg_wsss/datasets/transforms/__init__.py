"""Pipeline steps: decoding, geometry, photometry, views, packing."""

from .crop import RandomMixedCrop, RandomPadCrop, RandomScale, ResizeToFill, ResizeToFit
from .formatting import PackWSSSInputs
from .load_ground_truth import LoadGroundTruth
from .load_image import LoadImage, LoadMask, read_image
from .load_image_labels import LoadImageLabels
from .photometry import DINOPhotometry, StrongPhotometry
from .views import MultiView

__all__ = [
    'DINOPhotometry',
    'LoadGroundTruth',
    'LoadImage',
    'LoadImageLabels',
    'LoadMask',
    'MultiView',
    'PackWSSSInputs',
    'RandomMixedCrop',
    'RandomPadCrop',
    'RandomScale',
    'ResizeToFill',
    'ResizeToFit',
    'StrongPhotometry',
    'read_image',
]
