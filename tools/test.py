#!/usr/bin/env python
"""`mmseg-camix test`: evaluate a checkpoint: mIoU and IoU of each class, of student and teacher."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('test')
