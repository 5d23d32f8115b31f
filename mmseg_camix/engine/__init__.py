"""Hooks, loops, parameter groups of the optimiser, and what tools do to a config."""

from . import hooks, loops, optimisers, speed

__all__ = ['hooks', 'loops', 'optimisers', 'speed']
