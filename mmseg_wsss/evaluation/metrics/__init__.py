"""Metrics: CAMs and segmentation against masks; predictions as files."""

from .cam_iou_metric import CAMIoUMetric
from .mask_writer import MaskWriter, mask_path

__all__ = ['CAMIoUMetric', 'MaskWriter', 'mask_path']
