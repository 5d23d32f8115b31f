"""Comparison of a resumed checkpoint's config with that of the training."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.checkpoint.config_text import checkpoint_config, parse_config
from mmseg_camix.type_names import type_name

# Parts of a config that decide how a training proceeds, and keys within them that do not.
SECTIONS = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg')
IRRELEVANT = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'data_root', 'acceleration',
              'val_interval', 'val_begin', 'dynamic_intervals', 'skip_unreadable')
MAX_LISTED = 20


def check_resumed_config(checkpoint: dict, cfg: Config) -> None:
    """Refuse the checkpoint of another method; log a warning that lists all other differences.

    Does nothing if the checkpoint has no config, or if a config is more than data.

    Args:
        checkpoint: content of the resumed file.
        cfg: config of the training.

    Raises:
        CheckpointError: the checkpoint is of another method.
    """
    try:
        saved, current = checkpoint_config(checkpoint), parse_config(cfg.pretty_text)
    except CheckpointError:
        return
    methods = [type_name(config['model']) if 'type' in (config.get('model') or {}) else None
               for config in (saved, current)]
    if None not in methods and methods[0] != methods[1]:
        raise CheckpointError(
            f'the checkpoint is of a {methods[0]} training, and the config trains {methods[1]}: it cannot be resumed. '
            f'To start {methods[1]} from its weights, give it as load_from, without --resume')
    changes = list(config_changes(saved, current))
    if changes:
        more = f'\n  and {len(changes) - MAX_LISTED} more' if len(changes) > MAX_LISTED else ''
        print_log('The config differs from that of the resumed checkpoint; the training continues with the new values:'
                  + ''.join(f'\n  {line}' for line in changes[:MAX_LISTED]) + more, 'current', logging.WARNING)


def config_changes(saved: dict, current: dict) -> Iterator[str]:
    """Lines 'model.teacher.alpha: 0.99 -> 0.999' about the entries that change the course of a training."""
    for section in SECTIONS:
        yield from _changes(saved.get(section), current.get(section), section)


def _changes(old: Any, new: Any, place: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key not in IRRELEVANT:
                yield from _changes(old.get(key), new.get(key), f'{place}.{key}')
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new) and \
            any(isinstance(item, dict) for item in old):
        for index, items in enumerate(zip(old, new)):
            yield from _changes(*items, f'{place}[{index}]')
    elif (list(old) if isinstance(old, tuple) else old) != (list(new) if isinstance(new, tuple) else new):
        yield f'{place}: {old} -> {new}'
