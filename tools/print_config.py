#!/usr/bin/env python
"""`mmseg-camix print-config`: print a config with all defaults and their origins."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('print-config')
