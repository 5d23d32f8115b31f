"""The errors of this package."""


class CheckpointError(RuntimeError):
    """A checkpoint that is damaged, cannot be opened without running what it says, or cannot be written."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is cut short or otherwise not as it was written."""
