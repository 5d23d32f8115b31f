"""Hooks of an adapted training."""

from .collapse_hook import CollapseHook
from .dynamic_threshold_hook import DynamicThresholdHook
from .live_view_hook import LiveViewHook
from .nonfinite_hook import NonFiniteHook
from .record_hook import RecordMetricsHook
from .run_folder_hook import RunFolderHook
from .uda_hook import UDAHook

__all__ = ['CollapseHook', 'DynamicThresholdHook', 'LiveViewHook', 'NonFiniteHook', 'RecordMetricsHook',
           'RunFolderHook', 'UDAHook']
