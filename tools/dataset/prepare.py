#!/usr/bin/env python
"""`mmseg-camix prepare`: check and count a download: GTA, SYNTHIA, Cityscapes, ...."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('prepare')
