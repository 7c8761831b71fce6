"""Metrics: CAMs and segmentation against masks, predictions as files, and refinement before the evaluation."""

from .metrics import CAMIoUMetric, MaskWriter, mask_path
from .refining_evaluator import RefiningEvaluator

__all__ = ['CAMIoUMetric', 'MaskWriter', 'RefiningEvaluator', 'mask_path']
