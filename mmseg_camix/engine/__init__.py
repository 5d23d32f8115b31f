"""Engine: hooks, loops, and grouping of parameters."""

from . import hooks, loops, optimisers, speed

__all__ = ['hooks', 'loops', 'optimisers', 'speed']
