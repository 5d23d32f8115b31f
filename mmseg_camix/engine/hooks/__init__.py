"""Hooks of an adapted training."""

from .dynamic_threshold_hook import DynamicThresholdHook
from .record_hook import RecordMetricsHook
from .uda_hook import UDAHook

__all__ = ['DynamicThresholdHook', 'RecordMetricsHook', 'UDAHook']
