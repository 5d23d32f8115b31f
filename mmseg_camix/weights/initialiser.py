"""``init_cfg=dict(type='PretrainedBackbone', checkpoint=...)``: weights under anybody's names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from .fitting import State, WeightsError, first_names, fit, unwrap_weights
from .names import extract_backbone


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBackbone:
    """Initialise a backbone with weights in the naming of any known program; strict.

    Unlike mmengine's ``Pretrained``, which loads what happens to fit and warns of the rest, it
    recognises the naming, renames, and fails unless every weight of the backbone is there. What the
    file holds besides (a classifier, a head) is left out and logged.

    Args:
        checkpoint: file or address, as mmengine takes it; or a file of safetensors.
        prefix: where in the file the backbone lies, for example 'model.backbone.'; None finds it.
        missing_ok: starts of names that may be missing, besides those which the backbone itself
            says are new (`fc6` of VGG, the pyramid of a ViT).
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, missing_ok: Sequence[str] = ()) -> None:
        self.checkpoint = str(checkpoint)
        self.prefix = prefix
        self.missing_ok = tuple(missing_ok)
        self.wholemodule = False  # mmengine sets it

    def __call__(self, module: nn.Module) -> None:
        weights = unwrap_weights(read_weights(self.checkpoint), self.checkpoint)
        try:
            own, left = self._renamed(module, weights)
        except WeightsError as error:
            raise WeightsError(f'{self.checkpoint}: {error}') from None
        fit(module, own, (*self.missing_ok, *getattr(module, 'starts_at_random', ())), self.checkpoint)
        print_log(f'{type(module).__name__}: {len(own)} weights from {self.checkpoint}', 'current')
        if left:
            print_log(f'not part of the backbone, and left out, {len(left)}: {first_names(left)}', 'current')
        _mark_initialised(module)

    def _renamed(self, module: nn.Module, weights: State) -> tuple[State, list[str]]:
        if hasattr(module, 'adapt_weights'):  # a backbone that knows its own library's names
            return module.adapt_weights(weights, self.prefix)
        own, left, naming = extract_backbone(weights, naming_family(module), self.prefix)
        print_log(f'recognised the naming: {naming.title}', 'current')
        return own, left


def read_weights(checkpoint: str) -> Any:
    """Open a file or address without running anything that it says."""
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise WeightsError(f"no file of weights at '{checkpoint}'. The config that names it (init_cfg, checkpoint=...) "
                           'or docs/networks.md says where it comes from; without weights: '
                           '--cfg-options model.segmentor.backbone.init_cfg=None')
    if Path(checkpoint).suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        try:
            return load_file(checkpoint)
        except (OSError, SafetensorError) as error:  # an address, too; only torch's files are downloaded
            raise WeightsError(f'{checkpoint} was not opened: it is damaged, or no file on this machine ({error})'
                               ) from error
    return CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='current')


def naming_family(module: nn.Module) -> str:
    """Which naming suits a backbone: it says so, or is one of mmseg's own."""
    if hasattr(module, 'family'):
        return module.family
    from mmseg.models.backbones import MixVisionTransformer, ResNet
    for family, kind in (('mit', MixVisionTransformer), ('resnet', ResNet)):
        if isinstance(module, kind):
            return family
    raise WeightsError(f'the naming of a {type(module).__name__} is not known; known are ResNet, '
                       "MixVisionTransformer and our own backbones. Use mmengine's `Pretrained` for it")


def _mark_initialised(module: nn.Module) -> None:
    """So that mmengine does not initialise the parts once more, over the weights."""
    for part in module.modules():
        if hasattr(part, 'init_weights'):  # of mmengine, mmcv, or another library
            part.is_init = True
