"""Call a tool as the shell does, within this process."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(tool: str, *arguments: object) -> object:
    """Run tools/<tool> with these arguments; returns the exit code, or the message of a SystemExit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        patch.setenv('LOCAL_RANK', '0')
        try:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        except SystemExit as end:
            return end.code or 0
    return 0
