"""Evaluation: IoU over subsets of classes, results as data, and what the papers report."""

from .iou import SUBSETS, SubsetIoUMetric

__all__ = ['SUBSETS', 'SubsetIoUMetric']
