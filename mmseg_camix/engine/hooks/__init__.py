"""Hooks of an adapted training."""

from .dynamic_threshold_hook import DynamicThresholdHook
from .nonfinite_hook import NonFiniteHook
from .record_hook import RecordMetricsHook
from .uda_hook import UDAHook

__all__ = ['DynamicThresholdHook', 'NonFiniteHook', 'RecordMetricsHook', 'UDAHook']
