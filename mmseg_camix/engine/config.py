"""Configs as the tools use them: read, overridden, checked, completed."""

import inspect
import os
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmseg_camix import package_configs
from mmseg_camix.cli import did_you_mean

CONFIG_FILES = ('.py', '.json', '.yaml', '.yml')
# Entries of the top level that a config may lack and an option may add: the Runner's, and what is read elsewhere.
OPTIONAL_ENTRIES = {*inspect.signature(Runner.__init__).parameters} - {'self', 'cfg'} | {
    'custom_imports', 'find_unused_parameters', 'load_partially', 'model_wrapper_cfg', 'sync_bn',
    'strategy', 'runner_type', 'compile'}
# Hooks that every adapted training gets under default_hooks; `default_hooks.nonfinite=None` removes one.
ADDED_HOOKS = dict(run_folder='RunFolderHook', nonfinite='NonFiniteHook', collapse='CollapseHook')
# Hooks that need no type under default_hooks: `default_hooks.live.interval=100` is enough.
NAMED_HOOKS = dict(**ADDED_HOOKS, live='LiveViewHook')


class ConfigError(ValueError):
    """A config or an option is wrong; the message is one line that says where and what to do."""


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """The config of a file with options applied and its work folder set.

    The option ``data_root`` is applied to every data set, and ``crop_size`` to every crop and the preprocessor.

    Args:
        path: file of the config, or the name of one of the package: mmseg_camix::camix/gta2cs_daformer.py.
        options: ``--cfg-options``: dotted key -> value.
        work_dir: takes precedence over the config's; by default work_dirs/<folder>/<name of the config>.
    """
    path = package_configs.resolve(path)
    cfg = read_config(path)
    check_model_entries(cfg)
    options = dict(options or {})
    if (root := options.pop('data_root', None)) is not None:
        move_data_root(cfg, root)
    if (crop := options.pop('crop_size', None)) is not None:
        change_crop_size(cfg, crop)
    for key, value in options.items():
        apply_option(cfg, key, value)
    check_loops(cfg)
    name = os.path.splitext(os.path.basename(path))[0]
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('work_dirs', folder, name)
    return cfg


def read_config(path: str) -> Config:
    """The config of a file; any error in it, or in its bases, is a ConfigError that names the file."""
    if not os.path.isfile(path):
        raise ConfigError(f'no config at {path}; those of this package have names such as '
                          'mmseg_camix::camix/gta2cs_daformer.py')
    if not str(path).endswith(CONFIG_FILES):
        raise ConfigError(f'{path} is not a config; the name of a config ends in {", ".join(CONFIG_FILES)}')
    try:
        return Config.fromfile(path)
    except SyntaxError as error:
        source = (error.text or '').strip()
        raise ConfigError(f'{path}, line {error.lineno}: {error.msg}: {source}') from error
    except Exception as error:  # a config is a program, which may raise anything
        text = ' '.join(str(error).split())
        raise ConfigError(f'{path} cannot be read: {type(error).__name__}: {text}') from error


def check_model_entries(cfg: Config) -> None:
    """Raise where an adapted model still has the entries of the segmentor that it should contain."""
    model = cfg.get('model') or {}
    inherited = [key for key in ('backbone', 'decode_head') if key in model]
    if inherited and is_adapted(cfg):
        raise ConfigError(f"model: type '{model['type']}' was merged into the segmentor of a _base_ config ("
                          f'{", ".join(inherited)}); write model = dict(_delete_=True, '
                          f"type='{model['type']}', segmentor=_base_.model)")


def check_loops(cfg: Config) -> None:
    """Raise where a loop names its type twice or counts no iterations, for which mmengine has only a stack trace."""
    for key in ('train_cfg', 'val_cfg', 'test_cfg'):
        loop = cfg.get(key) or {}
        if 'type' in loop and 'by_epoch' in loop:
            raise ConfigError(f"{key}: type='{loop['type']}' and by_epoch={loop['by_epoch']} exclude each other; "
                              'remove by_epoch')
    for key in ('max_iters', 'val_interval'):
        value = (cfg.get('train_cfg') or {}).get(key, 1)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f'train_cfg.{key}={value} must be a whole number of at least 1')


def apply_option(cfg: Config, key: str, value: Any) -> None:
    """Set one entry of a config by its dotted key; refuse unknown entries, and text instead of a number."""
    entry = key.split('.')[0]
    known = {*cfg.keys(), *OPTIONAL_ENTRIES}
    if entry not in known:
        raise ConfigError(f"--cfg-options {key}: the config has no entry '{entry}'"
                          + (did_you_mean(entry, known) or f'; it has: {", ".join(sorted(cfg.keys()))}'))
    if key.startswith('default_hooks.'):
        _check_hook_name(cfg, key)
    old = value_at(cfg, key)
    if isinstance(value, str) and isinstance(old, Number) and not isinstance(old, bool):
        raise ConfigError(f"--cfg-options {key}='{value}': must be a number; the config has {old}")
    if isinstance(value, float) and value.is_integer() and isinstance(old, int) and not isinstance(old, bool):
        value = int(value)  # 1e3 iterations
    try:
        cfg.merge_from_dict({key: value})
    except (TypeError, KeyError) as error:
        text = ' '.join(str(error.args[0]).split())
        raise ConfigError(f'--cfg-options {key}: {text}') from error


def _check_hook_name(cfg: Config, key: str) -> None:
    name, *rest = key.split('.')[1:]
    known = {*(cfg.get('default_hooks') or {}), *NAMED_HOOKS, 'runtime_info'}
    if name not in known and rest[:1] != ['type']:
        raise ConfigError(f"--cfg-options {key}: default_hooks has no hook '{name}'"
                          + (did_you_mean(name, known) or f'; it has: {", ".join(sorted(known))}'))


def value_at(cfg: Mapping, key: str) -> Any:
    """The value at a dotted key (numbers index lists), or None where there is none."""
    node: Any = cfg
    for part in key.split('.'):
        if isinstance(node, (list, tuple)) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif hasattr(node, 'get'):
            node = node.get(part)
        else:
            return None
    return node


def prepare_work_dir(cfg: Config) -> None:
    """Make the config's work folder, and raise where it cannot be written to."""
    folder = cfg.work_dir
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        reason = 'a file of this name exists' if os.path.isfile(folder) else error.strerror
        raise ConfigError(f'the work folder {folder} cannot be made ({reason}); choose another --work-dir') from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f'the work folder {folder} cannot be written to; choose another --work-dir')


def move_data_root(cfg: Config, root: str) -> None:
    """Replace the config's ``data_root``, wherever it occurs."""
    old = cfg.get('data_root')
    if not old:
        raise ConfigError('the config has no data_root to change; set the data_root of each data set')
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
    """Change the size of all training crops.

    Args:
        cfg: a config with ``crop_size``, the size of all its crops.
        size: (height, width), or one number for both.
    """
    old = cfg.get('crop_size')
    if not old:
        raise ConfigError('the config has no crop_size to change; set that of each pipeline and data_preprocessor.size')
    new = _both_sides(size)
    if len(new) != 2 or not all(isinstance(side, int) and side > 0 for side in new):
        raise ConfigError(f'crop_size={size!r} must be one number of pixels, or height,width')
    _change_crops(cfg._cfg_dict, _both_sides(old), new)


def _both_sides(size: int | Sequence[int]) -> tuple[int, ...]:
    """(height, width) of a size, which may be one number."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _change_crops(node: Any, old: tuple[int, ...], new: tuple[int, int]) -> None:
    """Replace the size of the transforms that crop, and of the preprocessors that pad to it."""
    if isinstance(node, (list, tuple)):
        for item in node:
            _change_crops(item, old, new)
    elif isinstance(node, dict):
        for key, value in node.items():
            crops = key == 'crop_size' or (key == 'size' and 'mean' in node)
            if crops and isinstance(value, (int, list, tuple)) and _both_sides(value) == old:
                node[key] = new
            elif key != 'test_cfg':  # its crop is that of the sliding window
                _change_crops(value, old, new)


def is_adapted(cfg: Config) -> bool:
    """Whether the config's model is one of this package's wrappers."""
    from mmseg_camix.models.uda.wrapper import method_of
    return method_of(cfg.get('model', {})) is not None


def complete_for_adaptation(cfg: Config) -> None:
    """Add what an adapted model needs and a custom config may lack.

    The hook that moves the teacher, the hooks that watch a training, and loops that evaluate both networks, unless
    the config has custom loops.
    """
    from mmseg_camix.models.uda.wrapper import check_model_config
    check_model_config(cfg.get('model', {}))
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
    """Add the types of entries of default_hooks, and the watches; remove entries that are None."""
    hooks = dict(cfg.get('default_hooks') or {})
    own = {hook.get('type') for hook in cfg.get('custom_hooks') or []}
    for name, kind in NAMED_HOOKS.items():
        given = hooks.get(name, {} if name in ADDED_HOOKS else None)
        if given is None or kind in own:
            hooks.pop(name, None)
        else:
            hooks[name] = {'type': kind, **given}
    cfg.default_hooks = hooks
