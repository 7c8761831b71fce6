"""Where image-level labels come from: one small source per file format."""

from .base import ImageLabel, ImageLabelSource, check_classes
from .class_folders import ClassFolders
from .coco_annotations import COCOAnnotations
from .label_arrays import LabelArrays
from .mask_folder import MaskFolder
from .problems import ImageLabelError, Problems
from .tag_file import TagFile
from .voc_xml import VOCXML

__all__ = [
    'VOCXML',
    'COCOAnnotations',
    'ClassFolders',
    'ImageLabel',
    'ImageLabelError',
    'ImageLabelSource',
    'LabelArrays',
    'MaskFolder',
    'Problems',
    'TagFile',
    'check_classes',
]
