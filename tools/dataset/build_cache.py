#!/usr/bin/env python
"""`mmseg-camix cache`: cache the images and labels of a config for fast input."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('cache')
