"""Samples that could not be read, and source batches without labels: logged and counted."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from mmengine.runner import Runner

from mmseg_camix.datasets.unreadable import replacement_reasons

COUNTS = 'unreadable_samples'
MAX_UNLABELLED = 20


def count_unreadable(runner: Runner, batch: dict | None) -> None:
    """Log and count samples that replace unreadable ones (`PairedDataset(skip_unreadable=True)`).

    The counts are in the message hub, so a resumed training continues them, and in the log as ``unreadable``. Each
    process has its own; checkpoints hold those of the first.
    """
    hub = runner.message_hub
    for reason in replacement_reasons(batch or {}):
        counts = dict(hub.runtime_info.get(COUNTS) or {})
        file = reason.split(' (while loading')[0]
        counts[file] = counts.get(file, 0) + 1
        hub.update_info(COUNTS, counts)
        if counts[file] == 1:  # an ERROR, because processes other than the first log nothing less
            print_log(f'{reason}. Another sample replaces it, now and whenever it comes up again ({len(counts)} '
                      'different files so far)', 'current', logging.ERROR)
    if counts := hub.runtime_info.get(COUNTS):
        hub.update_scalar('train/unreadable', sum(counts.values()))


def summarise_unreadable(runner: Runner) -> None:
    """Log how often each unreadable file was replaced."""
    if counts := runner.message_hub.runtime_info.get(COUNTS):
        files = '\n'.join(f'  {count} x {file}' for file, count in counts.items())
        print_log(f'{sum(counts.values())} samples could not be read and were replaced by others:\n{files}',
                  'current', logging.ERROR)


class UnlabelledBatches:
    """Counts consecutive source batches without a single labelled pixel, and warns once.

    Args:
        ignore_index: label of pixels that do not count.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index, self.count = ignore_index, 0

    def update(self, batch: dict | None) -> None:
        """Inspect the labels of a batch; on the host, before it reaches the model."""
        samples = (batch or {}).get('source', batch or {}).get('data_samples') or ()
        labels = [sample.gt_sem_seg.data for sample in samples if 'gt_sem_seg' in sample]
        labelled = not labels or any(bool((label != self.ignore_index).any()) for label in labels)
        self.count = 0 if labelled else self.count + 1
        if self.count == MAX_UNLABELLED:
            print_log(f'{MAX_UNLABELLED} source batches in a row have no labelled pixel (all are {self.ignore_index}): '
                      'the network learns nothing from them. Check the encoding and the paths of the source labels '
                      'with tools/dataset/check.py', 'current', logging.ERROR)
