"""Files that cannot be read in the middle of a training: replaced where that is asked for, never in silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mmengine.logging import print_log

from .seeding import seed_words

KEY = 'unreadable'
"""Of the metainfo of a sample that stands for one that cannot be read: what was wrong."""
TRIES = 10


class SampleError(RuntimeError):
    """A sample cannot be loaded; says which, of which branch, at which position, and why."""


def is_unreadable(error: SampleError) -> bool:
    """Whether a file is at fault: missing, cut short, damaged; not the config, or the label's encoding."""
    return isinstance(error.__cause__, OSError)


def replacements(size: int, *key: int | str) -> Iterator[tuple[int, int]]:
    """(number of the try, index of the sample that may stand in), which follow from the key alone."""
    for number in range(1, TRIES + 1):
        yield number, int(seed_words(*key, number)[0]) % size


def mark(data: dict, reason: str) -> dict:
    """Say in a sample's metainfo for what it stands; the hook counts it."""
    sample = data.get('data_samples')
    if hasattr(sample, 'set_metainfo'):
        sample.set_metainfo({KEY: reason})
    else:
        print_log(f'{reason}; another sample stands in for it', 'current', logging.ERROR)
    return data


def marked(batch: dict) -> Iterator[str]:
    """What was wrong with the samples that others stand for, in a batch of branches."""
    for branch in batch.values() if isinstance(batch, dict) else ():
        for sample in branch.get('data_samples', ()) if isinstance(branch, dict) else ():
            if reason := getattr(sample, KEY, None):
                yield reason
