"""Where a training can be watched from afar: TensorBoard and Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

from mmengine.config import Config

# Name on the command line -> backend of mmengine, package that it needs.
BACKENDS = dict(tensorboard=('TensorboardVisBackend', 'tensorboard'), wandb=('WandbVisBackend', 'wandb'))


def show_in(cfg: Config, names: Sequence[str]) -> None:
    """Add backends to a config's visualiser: scalars, the config and LiveViewHook's pictures go there too.

    Args:
        cfg: changed in place.
        names: 'tensorboard', 'wandb' or both.
    """
    visualizer = dict(cfg.get('visualizer') or dict(type='SegLocalVisualizer'))
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    for name in names:
        if name not in BACKENDS:
            raise SystemExit(f"--vis: '{name}' is none of {', '.join(BACKENDS)}")
        kind, package = BACKENDS[name]
        if find_spec(package) is None:
            raise SystemExit(f'--vis {name} needs the package {package}: pip install {package}')
        if not any(backend.get('type') == kind for backend in backends):
            backends.append(dict(type=kind, **_arguments(cfg, name)))
    cfg.visualizer = dict(visualizer, vis_backends=backends)


def _arguments(cfg: Config, name: str) -> dict:
    """W&B sorts runs by project; WANDB_PROJECT, WANDB_NAME and WANDB_MODE=offline work as ever."""
    if name != 'wandb' or 'WANDB_PROJECT' in os.environ:
        return {}
    return dict(init_kwargs=dict(project='mmseg_camix', name=os.path.relpath(cfg.work_dir, 'work_dirs')))
