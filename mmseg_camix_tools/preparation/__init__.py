"""From an unpacked download to data for training; behind mmseg-camix prepare."""

from .layouts import LAYOUTS
from .steps import NotReady, Options, Outcome, prepare

__all__ = ['LAYOUTS', 'NotReady', 'Options', 'Outcome', 'prepare']
