#!/usr/bin/env python
"""`mmseg-camix stats`: count the classes of each label, for rare-class and long-tail sampling."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('stats')
