"""Remote monitoring of a training: TensorBoard and Weights & Biases."""

import os
from collections.abc import Sequence
from importlib.util import find_spec

from mmengine.config import Config

# Name on the command line -> backend of mmengine, required package.
BACKENDS = dict(tensorboard=('TensorboardVisBackend', 'tensorboard'), wandb=('WandbVisBackend', 'wandb'))


def add_backends(cfg: Config, names: Sequence[str]) -> None:
    """Add backends to a config's visualiser; they get scalars, the config and LiveViewHook's pictures.

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
    """Project and name of a W&B run, unless the environment variable WANDB_PROJECT is set."""
    if name != 'wandb' or 'WANDB_PROJECT' in os.environ:
        return {}
    return dict(init_kwargs=dict(project='mmseg_camix', name=os.path.relpath(cfg.work_dir, 'work_dirs')))
