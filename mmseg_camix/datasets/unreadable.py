"""Samples whose files cannot be read during a training: replaced on request, and always reported."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mmengine.logging import print_log

from .seeding import seed_words

KEY = 'unreadable'
"""Metainfo key of a sample that replaces an unreadable one: the reason."""
TRIES = 10


class SampleError(RuntimeError):
    """A sample cannot be loaded; the message has its branch, its position and the reason."""


def is_unreadable(error: SampleError) -> bool:
    """Whether the file is missing or damaged, as opposed to errors of the config or of the label's encoding."""
    return isinstance(error.__cause__, OSError)


def replacements(size: int, *key: int | str) -> Iterator[tuple[int, int]]:
    """Yield (number of the try, index of a replacement), which depend only on the key."""
    for number in range(1, TRIES + 1):
        yield number, int(seed_words(*key, number)[0]) % size


def mark_replacement(data: dict, reason: str) -> dict:
    """Record in a sample's metainfo why it replaces another; UDAHook counts it."""
    sample = data.get('data_samples')
    if hasattr(sample, 'set_metainfo'):
        sample.set_metainfo({KEY: reason})
    else:
        print_log(f'{reason}; replaced by another sample', 'current', logging.ERROR)
    return data


def replacement_reasons(batch: dict) -> Iterator[str]:
    """Yield the reasons of all replacements in a batch of branches."""
    for branch in batch.values() if isinstance(batch, dict) else ():
        for sample in branch.get('data_samples', ()) if isinstance(branch, dict) else ():
            if reason := getattr(sample, KEY, None):
                yield reason
