#!/usr/bin/env python
"""`mmseg-camix draw`: draw the miniature benchmark."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('draw')
