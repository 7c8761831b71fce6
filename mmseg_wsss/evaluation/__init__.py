"""Metrics: CAMs and segmentation against masks, predictions as files, and predictions refined before."""

from .cam_iou_metric import CAMIoUMetric
from .mask_writer import MaskWriter, mask_path
from .refining_evaluator import RefiningEvaluator

__all__ = ['CAMIoUMetric', 'MaskWriter', 'RefiningEvaluator', 'mask_path']
