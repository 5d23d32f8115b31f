#!/usr/bin/env python
"""Write a report on trainings as one HTML file."""

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)

from mmseg_camix.cli import run
from mmseg_camix_tools.report.command import main

if __name__ == '__main__':
    run(main)
