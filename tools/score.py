#!/usr/bin/env python
"""`mmseg-camix score`: rank checkpoints on images without labels."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('score')
