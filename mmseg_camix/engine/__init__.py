"""Engine: hooks, loops, grouping of parameters, and the reading of weights."""

from . import hooks, loops, optimisers, speed, weights

__all__ = ['hooks', 'loops', 'optimisers', 'speed', 'weights']
