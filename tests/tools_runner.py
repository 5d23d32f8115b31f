"""Runs tools in this process, as from a shell."""

import runpy
import sys
from pathlib import Path

import pytest

from mmseg_camix_tools.commands import COMMANDS, run_command

ROOT = Path(__file__).parents[1]


def call(tool: str, *arguments: object) -> object:
    """Run tools/<tool>, a command of mmseg-camix, or a module by its dotted name; return the exit code or message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        patch.setenv('LOCAL_RANK', '0')
        try:
            if tool in COMMANDS:
                run_command(tool)
            elif tool.endswith('.py'):
                runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
            else:
                runpy.run_module(tool, run_name='__main__', alter_sys=False)
        except SystemExit as end:
            return end.code or 0
    return 0
