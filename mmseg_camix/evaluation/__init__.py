"""Evaluation."""

from .iou import SubsetIoUMetric

__all__ = ['SubsetIoUMetric']
