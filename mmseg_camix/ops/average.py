"""Numbers that several processes with a batch in common can agree on."""
from collections.abc import Callable

from torch import Tensor

Average = Callable[[Tensor], Tensor]
"""Takes a number of one process to its mean over all that share a batch."""


def alone(value: Tensor) -> Tensor:
    """The mean over one process."""
    return value
