"""Runs tools in this process, as from a shell."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(tool: str, *arguments: object) -> object:
    """Run tools/<tool>, or a module given by its dotted name; return the exit code or the message of SystemExit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        patch.setenv('LOCAL_RANK', '0')
        try:
            if tool.endswith('.py'):
                runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
            else:
                runpy.run_module(tool, run_name='__main__', alter_sys=False)
        except SystemExit as end:
            return end.code or 0
    return 0
