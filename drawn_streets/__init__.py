"""The miniature benchmark: street scenes drawn by a program, in the layout of the real data sets."""

from .render import default_size, render, scene_of
from .styles import DOMAINS

__all__ = ['DOMAINS', 'default_size', 'render', 'scene_of']
