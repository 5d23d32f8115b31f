"""The errors of this package."""
from typing import Any

from ..files import printable

_MOST_CHARACTERS = 200


def shortened(text: str) -> str:
    """The start of `text`, which comes from a file."""
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + '...'


def describe(value: Any) -> str:
    """Text for a message about an object of a file: short text itself, otherwise the type.

    Never the repr of a container: a few hundred bytes of shared lists can have one of gigabytes.
    """
    return repr(shortened(value)) if type(value) is str else f'a {type(value).__name__}'


def describe_error(error: Exception) -> str:
    """Type and message of an error; the type only where it carries objects, whose repr its message would be."""
    text = error.args[0] if len(error.args) == 1 and type(error.args[0]) is str else ''
    return f'{type(error).__name__}: {shortened(text)}' if text else type(error).__name__


class CheckpointError(RuntimeError):
    """A checkpoint is damaged, cannot be opened without running its content, or cannot be written."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # names and keys come from the file


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is cut short or otherwise not as it was written."""
