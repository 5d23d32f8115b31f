"""Hooks of an adapted training."""

from .record_hook import RecordMetricsHook
from .uda_hook import UDAHook

__all__ = ['RecordMetricsHook', 'UDAHook']
