"""Metrics: CAMs and segmentation against masks, predictions as files, and predictions refined before."""

from .metrics import CAMIoUMetric, MaskWriter, mask_path
from .refining_evaluator import RefiningEvaluator

__all__ = ['CAMIoUMetric', 'MaskWriter', 'RefiningEvaluator', 'mask_path']
