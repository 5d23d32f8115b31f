#!/usr/bin/env python
"""`mmseg-camix check`: check the data of a config before training."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('check')
