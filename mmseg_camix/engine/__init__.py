"""Engine: hooks, loops, and the reading of weights."""

from . import hooks, loops, weights

__all__ = ['hooks', 'loops', 'weights']
