"""Read and write checkpoint files.

`read_checkpoint` runs no code from a file. `save_checkpoint` writes plain data, completely or not at all. `install`
replaces mmengine's functions by these.
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
