"""The error of this package."""
from mmseg_camix.files import printable


class ExportError(ValueError):
    """A network cannot be exported; says why and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # names come from checkpoints
