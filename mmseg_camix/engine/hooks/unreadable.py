"""Samples that could not be read: said once for each file, and counted."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from mmengine.runner import Runner

from mmseg_camix.datasets.unreadable import marked

COUNTS = 'unreadable_samples'


def note_unreadable(runner: Runner, batch: dict | None) -> None:
    """Look for samples in a batch that stand for unreadable ones (`PairedDataset(skip_unreadable=True)`).

    The counts are in the message hub, so that a resumed training goes on with them, and in the log as
    ``unreadable``. Each process has its own; those of the first are in the checkpoint.
    """
    hub = runner.message_hub
    for reason in marked(batch or {}):
        counts = dict(hub.runtime_info.get(COUNTS) or {})
        file = reason.split(' (while loading')[0]
        counts[file] = counts.get(file, 0) + 1
        hub.update_info(COUNTS, counts)
        if counts[file] == 1:  # an ERROR, because other processes than the first log nothing less
            print_log(f'{reason}. Another sample stands in for it, now and whenever it comes up again (so far '
                      f'{len(counts)} different files)', 'current', logging.ERROR)
    if counts := hub.runtime_info.get(COUNTS):
        hub.update_scalar('train/unreadable', sum(counts.values()))


def summarise_unreadable(runner: Runner) -> None:
    """Say at the end how often it happened."""
    if counts := runner.message_hub.runtime_info.get(COUNTS):
        files = '\n'.join(f'  {count} x {file}' for file, count in counts.items())
        print_log(f'{sum(counts.values())} samples could not be read, and others stood in for them:\n{files}',
                  'current', logging.ERROR)
