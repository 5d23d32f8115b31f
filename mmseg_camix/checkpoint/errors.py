"""The errors of this package."""
from ..files import printable


class CheckpointError(RuntimeError):
    """A checkpoint is damaged, cannot be opened without running its content, or cannot be written."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # names and keys come from the file


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is cut short or otherwise not as it was written."""
