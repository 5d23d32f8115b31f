#!/usr/bin/env python
"""`mmseg-camix predict`: label images, folders and videos."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('predict')
