"""Checkpoints that are safe to open, whole on the disk, and plain data inside.

Reading (`read_checkpoint`) runs nothing that a file says. Writing (`save_checkpoint`) leaves a
whole file or none. `install` puts both in the place of mmengine's own.
"""
from .errors import CheckpointError, DamagedCheckpointError
from .install import install
from .latest import find_latest_checkpoint
from .plain import from_plain, to_plain
from .reader import read_checkpoint
from .writer import save_checkpoint

__all__ = [
    'CheckpointError', 'DamagedCheckpointError', 'find_latest_checkpoint', 'from_plain', 'install',
    'read_checkpoint', 'save_checkpoint', 'to_plain'
]
