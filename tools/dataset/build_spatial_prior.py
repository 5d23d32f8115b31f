#!/usr/bin/env python
"""`mmseg-camix prior`: count the spatial prior of CAMix."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('prior')
