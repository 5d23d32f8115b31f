#!/usr/bin/env python
"""`mmseg-camix adapt`: adapt a network to unlabelled images, and export the better one."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('adapt')
