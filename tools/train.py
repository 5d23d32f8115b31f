#!/usr/bin/env python
"""`mmseg-camix train`: train a model, adapted or not."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('train')
