"""All functions of mmengine 0.10 that are replaced, each with its reason.

mmengine has no registry for these functions, and mmseg's own tools, which must be as safe as
ours, call its Runner. So names are exchanged in the modules that use them.
"""
from functools import cache
from typing import Any

import mmengine.runner
import torch
from mmengine._strategy import deepspeed
from mmengine.infer import infer
from mmengine.runner import _flexible_runner, checkpoint, runner

from .latest import find_latest_checkpoint
from .plain import to_plain
from .reader import MapLocation, load_url, read_checkpoint
from .writer import save_checkpoint


class _SafeTorch:
    """The module `torch`, but for `load` and `save`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def load(file: Any, map_location: MapLocation = None, weights_only: bool | None = None) -> Any:
        """Read a file safely, whatever `weights_only` is: onedl-mmengine tries True and then False."""
        return read_checkpoint(file, map_location)

    @staticmethod
    def save(checkpoint: Any, file: Any) -> None:
        torch.save(to_plain(checkpoint), file)


@cache
def install() -> None:
    """Replace mmengine's reading and writing of checkpoints by ours; once."""
    # Reading. Every loader of CheckpointLoader (local, open-mmlab, s3, ...) ends in the `torch` of this module;
    # `load_url` (http, torchvision, mmcls) ends in torch.hub, which by default reads with weights_only=False.
    checkpoint.torch = _SafeTorch()
    checkpoint.load_url = load_url

    # Writing, as plain data and whole. Each module has imported the function by name; where a
    # module that we do not know has done so before us, `torch.save` above writes plain data.
    for module in (checkpoint, mmengine.runner, runner, deepspeed):
        module.save_checkpoint = save_checkpoint

    # `resume` without a path: stock fails if the last checkpoint is damaged.
    for module in (checkpoint, mmengine.runner, runner, _flexible_runner):
        module.find_latest_checkpoint = find_latest_checkpoint

    # An inferencer without a config runs the one in the checkpoint, which is Python code.
    infer.BaseInferencer._init_model = _with_config(infer.BaseInferencer._init_model)


def _with_config(stock: Any) -> Any:
    def _init_model(self: Any, cfg: Any, weights: str | None, device: str = 'cpu') -> Any:
        if not cfg:
            raise ValueError(
                f'the inferencer got weights ({weights}) without a config. The config inside a '
                'checkpoint is Python code and is not run: pass `model=` the config file')
        return stock(self, cfg, weights, device)

    return _init_model
