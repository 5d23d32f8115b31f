"""Randomness as a pure function of names and numbers, so that data do not depend on the worker that loads them."""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_words(*key: int | str) -> np.ndarray:
    """(8,) uint32, well mixed, from a key of numbers (>= 0) and names; the same with every version of NumPy."""
    numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.SeedSequence(numbers).generate_state(8)


def permutation(size: int, *key: int | str) -> np.ndarray:
    """A permutation of range(size) that depends only on the key: (size,) int32."""
    # RandomState, because its streams are frozen: a Generator's may change with NumPy's version.
    return np.random.RandomState(seed_words(*key)).permutation(size).astype(np.int32)


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Seed the generators that transforms draw from, and restore them afterwards.

    These are the global ones of NumPy, of `random`, and of torch on the CPU.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    # torch.manual_seed would also seed the accelerator's generators, which are the training step's.
    torch.default_generator.manual_seed(_seed_host(*key))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def seed_all(*key: int | str) -> None:
    """Seed every global generator from a key: Python's, NumPy's, and torch's on all devices."""
    torch.manual_seed(_seed_host(*key))


def _seed_host(*key: int | str) -> int:
    """Seed Python's and NumPy's global generators; returns a seed for torch's."""
    words = seed_words(*key)
    random.seed(int.from_bytes(words.tobytes(), 'little'))
    np.random.seed(words)  # noqa: NPY002
    return int(words[0]) << 32 | int(words[1])
