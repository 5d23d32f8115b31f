"""Configs as the tools use them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.registry import MODELS

CONFIG_FILES = ('.py', '.json', '.yaml', '.yml')
# Hooks under default_hooks that are known by name: `default_hooks.live.interval=100` suffices. The first two
# watch every adapted training; `default_hooks.nonfinite=None` leaves one out.
WATCHES = dict(nonfinite='NonFiniteHook', collapse='CollapseHook')
NAMED_HOOKS = dict(**WATCHES, live='LiveViewHook')


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read a config, apply ``--cfg-options``, and settle the work folder.

    The option ``data_root`` reaches every data set, and ``crop_size`` every crop and the preprocessor, as users
    expect of them.
    """
    if not os.path.isfile(path):
        raise SystemExit(f'no config at {path}; those of the project are under configs/')
    if not str(path).endswith(CONFIG_FILES):
        raise SystemExit(f'{path} is no config; a config is a file that ends in {", ".join(CONFIG_FILES)}')
    cfg = Config.fromfile(path)
    options = dict(options or {})
    root = options.pop('data_root', None)
    if root is not None:
        move_data_root(cfg, root)
    crop = options.pop('crop_size', None)
    if crop is not None:
        change_crop_size(cfg, crop)
    cfg.merge_from_dict(options)
    name = os.path.splitext(os.path.basename(path))[0]
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('work_dirs', folder, name)
    return cfg


def move_data_root(cfg: Config, root: str) -> None:
    """Put another folder in the place of the config's ``data_root``, wherever it occurs."""
    old = cfg.get('data_root')
    if not old:
        raise SystemExit('the config has no data_root to change; set the data_root of each data set')
    _move_root(cfg, old, str(root))


def _move_root(node: dict, old: str, new: str) -> None:
    """Replace the root in every ``data_root`` (and other paths below it) of a config."""
    for key, value in node.items():
        if isinstance(value, dict):
            _move_root(value, old, new)
        elif isinstance(value, str) and (value == old or value.startswith(old.rstrip('/') + '/')):
            node[key] = new.rstrip('/') + value[len(old.rstrip('/')):]
        elif isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, dict):
                    _move_root(item, old, new)


def change_crop_size(cfg: Config, size: int | Sequence[int]) -> None:
    """Give all training crops another size.

    Args:
        cfg: a config with ``crop_size``, the size of all its crops.
        size: (height, width), or one number for both.
    """
    old = cfg.get('crop_size')
    if not old:
        raise SystemExit('the config has no crop_size to change; set that of each pipeline, and data_preprocessor.size')
    new = (size, size) if isinstance(size, int) else tuple(size)
    if len(new) != 2 or not all(isinstance(side, int) and side > 0 for side in new):
        raise SystemExit(f'crop_size={size!r} must be one number of pixels, or height,width')
    _change_crops(cfg._cfg_dict, tuple(old), new)


def _change_crops(node: Any, old: tuple[int, ...], new: tuple[int, int]) -> None:
    """Replace the size of the transforms that crop, and of the preprocessors that pad to it."""
    if isinstance(node, (list, tuple)):
        for item in node:
            _change_crops(item, old, new)
    elif isinstance(node, dict):
        for key, value in node.items():
            crops = key == 'crop_size' or (key == 'size' and 'mean' in node)
            if crops and isinstance(value, (list, tuple)) and tuple(value) == old:
                node[key] = new
            elif key != 'test_cfg':  # its crop is that of the sliding window
                _change_crops(value, old, new)


def is_adapted(cfg: Config) -> bool:
    """Whether the config's model is one of this package's wrappers."""
    from mmseg_camix.models import UDASegmentor
    kind = cfg.get('model', {}).get('type')
    cls = kind if isinstance(kind, type) else MODELS.get(kind) if kind else None
    return isinstance(cls, type) and issubclass(cls, UDASegmentor)


def complete_for_adaptation(cfg: Config) -> None:
    """Add what an adapted model needs and a wrapped config of one's own may lack.

    The hook that moves the teacher, those that watch a training, and loops that evaluate both networks,
    unless the config has loops of its own kind.
    """
    if not is_adapted(cfg):
        return
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(hook.get('type') == 'UDAHook' for hook in hooks):
        print_log('added custom_hooks entry UDAHook, which moves the teacher', logger='current')
        cfg.custom_hooks = [*hooks, dict(type='UDAHook')]
    _name_hooks(cfg)
    for phase, stock in (('val', 'ValLoop'), ('test', 'TestLoop')):
        loop = cfg.get(f'{phase}_cfg')
        if loop is not None and loop.get('type', stock) == stock:
            cfg[f'{phase}_cfg'] = dict(loop, type=f'TeacherStudent{stock}')


def _name_hooks(cfg: Config) -> None:
    """Give entries of default_hooks their types, add the watches, and leave out what is None."""
    hooks = dict(cfg.get('default_hooks') or {})
    own = {hook.get('type') for hook in cfg.get('custom_hooks') or []}
    for name, kind in NAMED_HOOKS.items():
        given = hooks.get(name, {} if name in WATCHES else None)
        if given is None or kind in own:
            hooks.pop(name, None)
        else:
            hooks[name] = {'type': kind, **given}
    cfg.default_hooks = hooks
