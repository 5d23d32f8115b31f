"""Print what the tensors of a training step need on a card, for several sets of options, without computing anything.

The step runs on tensors without data (PyTorch's fake tensors), which takes seconds for any network and no images.
Counted are networks, moments of the optimiser, and all tensors of the step; not counted are the workspaces of kernels,
the context of the device (about 0.5 GiB) and what its allocator cannot reuse.

examples:
  python -m benchmarks.memory CONFIG --options '' backward=each checkpointing 'backward=each checkpointing'
  python -m benchmarks.memory CONFIG --images 1 --cfg-options model.segmentor.data_preprocessor.size=1024,1024
"""

import argparse
import copy
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_camix import cli
from mmseg_camix.datasets import CLASSES
from mmseg_camix.engine.config import load_config
from mmseg_camix.engine.speed import apply_options

from .tables import markdown

GIB = 2**30


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made within the context; `peak` is their largest sum at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._storages: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:  # a number for the host, which has no value here
            return 1
        # Tensors without data are drawn by no generator.
        result = func(*args, **{key: None if key == 'generator' else value for key, value in (kwargs or {}).items()})
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._storages:
            return
        self._storages.add(storage)
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.bytes -= size


@dataclass(frozen=True)
class Need:
    """Bytes of a training."""

    lasting: int
    """Networks (student, teacher, frozen encoder) and moments of the optimiser."""
    step: int
    """Activations and gradients."""


def need_of(cfg: Config, images: int = 2) -> Need:
    """What the training of a config needs, with as many images of each branch."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if 'init_cfg' in cfg.model.segmentor.backbone:  # no file of weights is needed
        cfg.model.segmentor.backbone.init_cfg = None
    cfg.model.get('pseudo_labels', {}).pop('margins', None)  # need the place of a crop in its image
    model = MODELS.build(cfg.model)
    for mask in model.masks.values():
        mask.prior_file = None  # the prior's map is small
    model.prepare(dict(classes=CLASSES[:model.num_classes]))
    model.set_progress(0, 100_000)
    optimizer = build_optim_wrapper(model.train(), cfg.optim_wrapper)
    moments = 2 if 'Adam' in type(optimizer.optimizer).__name__ else 1
    trained = [p for p in model.parameters() if p.requires_grad]
    lasting = [*model.parameters(), *model.buffers(), *(p for objective in model.objectives.values()
               for encoder in getattr(objective, '_encoder', ()) for p in encoder.parameters()), *trained * moments]
    return Need(sum(tensor.nbytes for tensor in lasting), step_bytes(model, optimizer, images))


def step_bytes(model: nn.Module, optimizer: OptimWrapper, images: int, fake: bool = True) -> int:
    """Most bytes of tensors at one time in a step, on tensors without data unless `fake` is False.

    Left out is what depends on data: the strong augmentation, whose draws the host reads, and mmseg's accuracy.
    """
    batch = {branch: _branch(images, model.crop_size) for branch in model.branches}
    model.augment.forward = lambda image, generator=None: image
    with (patch('mmseg.models.decode_heads.decode_head.accuracy', lambda score, *args, **kwargs: score.new_zeros(1)),
          FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext(), LiveBytes() as live):
        with optimizer.optim_context(model):
            losses = model(**model.data_preprocessor(batch, True), mode='loss')
        model.parse_losses(losses)[0].backward()
    return live.peak


def _branch(images: int, size: tuple[int, int]) -> dict[str, Any]:
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, *size, dtype=torch.long)),
                             metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size)) for _ in range(images)]
    return dict(inputs=torch.zeros(images, 3, *size, dtype=torch.uint8), data_samples=samples)


def table(needs: dict[str, Need]) -> str:
    """A row for each set of options."""
    first = next(iter(needs.values()))
    rows = [[f'`{options}`' if options else 'as configured', *(f'{value / GIB:.1f}' for value in (
        need.lasting, need.step, need.lasting + need.step)), f'{need.step / first.step:.2f}']
        for options, need in needs.items()]
    return markdown(['options', 'networks, moments: GiB', 'step', 'sum', 'step, relative'], rows)


def needs_of(cfg: Config, options: Sequence[str], images: int) -> dict[str, Need]:
    """Options -> what the training needs with them."""
    needs = {}
    for words in options:
        changed = copy.deepcopy(cfg)
        apply_options(changed, words.split())
        needs[words] = need_of(changed, images)
    return needs


def main() -> None:
    """Print the table of a config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--options', nargs='+', default=[''], help="options of mmseg-camix train --speed, a set in one "
                        "argument; '' is none")
    parser.add_argument('--images', type=int, help='images of each branch (default: those of the config)')
    cli.add_config_options(parser)
    args = parser.parse_args()
    cfg = load_config(args.config, args.cfg_options)
    print(table(needs_of(cfg, args.options, args.images or cfg.train_dataloader.batch_size)))


if __name__ == '__main__':
    cli.run(main)
