"""From an unpacked download to data that one can train on; behind tools/dataset/prepare.py."""

from .layouts import LAYOUTS
from .running import NotReady, Options, Outcome, prepare

__all__ = ['LAYOUTS', 'NotReady', 'Options', 'Outcome', 'prepare']
