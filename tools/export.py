#!/usr/bin/env python
"""`mmseg-camix export`: write a plain mmseg checkpoint, safetensors or ONNX."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('export')
