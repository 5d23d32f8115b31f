#!/usr/bin/env python
"""`mmseg-camix report`: write a report on one or several trainings as one HTML file."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('report')
