"""Metrics: CAMs and segmentation against masks."""

from .cam_iou_metric import CAMIoUMetric

__all__ = ['CAMIoUMetric']
