"""From an unpacked download to data for training; behind tools/dataset/prepare.py."""

from .layouts import LAYOUTS
from .steps import NotReady, Options, Outcome, prepare

__all__ = ['LAYOUTS', 'NotReady', 'Options', 'Outcome', 'prepare']
