"""What is kept of the images of a set: sums, and a bounded number of samples."""

import torch
from torch import Tensor


class Samples:
    """Rows evenly spread over a stream of unknown length: every 2^k-th, at least half of `limit` once there are enough.

    The choice depends on the order of the rows, not on how they are divided into batches.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.stride, self.received = limit, 1, 0
        self.rows: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """Offer rows (N, D)."""
        first = -self.received % self.stride
        self.received += len(rows)
        self.rows += rows[first::self.stride].cpu().unbind()
        while len(self.rows) > self.limit:
            self.rows, self.stride = self.rows[::2], 2 * self.stride

    def merge(self, other: 'Samples') -> None:
        """Append those of another process, thinned to the same stride."""
        stride = max(self.stride, other.stride)
        self.rows = self.rows[::stride // self.stride] + other.rows[::stride // other.stride]
        self.stride, self.received = stride, self.received + other.received
        while len(self.rows) > self.limit:
            self.rows, self.stride = self.rows[::2], 2 * self.stride

    def tensor(self) -> Tensor:
        """(N, D)."""
        return torch.stack(self.rows)


class State:
    """Named sums, and named samples of at most `limit` rows."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sums: dict[str, Tensor] = {}
        self.samples: dict[str, Samples] = {}

    def add(self, name: str, value: Tensor | float) -> None:
        """Add to a sum; integers stay exact, other numbers are added in double precision."""
        value = torch.as_tensor(value).cpu()
        value = value.double() if value.is_floating_point() else value
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def sample(self, name: str, rows: Tensor) -> None:
        """Offer rows (N, D)."""
        self.samples.setdefault(name, Samples(self.limit)).add(rows)

    def merge(self, other: 'State') -> None:
        """Add the sums and samples of another process."""
        for name, value in other.sums.items():
            self.add(name, value)
        for name, samples in other.samples.items():
            self.samples.setdefault(name, Samples(self.limit)).merge(samples)
