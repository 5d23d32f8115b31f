"""The one error of this package."""


class CheckpointError(RuntimeError):
    """A checkpoint that is damaged, or that cannot be opened without running what it says."""
