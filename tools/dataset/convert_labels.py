#!/usr/bin/env python
"""`mmseg-camix convert-labels`: write train-id PNGs beside raw labels."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('convert-labels')
