"""Measurements and pictures behind the figures of the documentation: `python -m benchmarks.step CONFIG` in the root."""

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
