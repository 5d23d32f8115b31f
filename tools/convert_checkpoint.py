#!/usr/bin/env python
"""`mmseg-camix convert`: convert a published checkpoint of DACS, CAMix, DAFormer, MIC, ...."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('convert')
