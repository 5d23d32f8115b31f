"""The common base of timm's networks as backbones."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Self

import timm
import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from mmseg_camix.weights.fitting import State, WeightsError, first_names


class TimmBackbone(BaseModule):
    """Base of backbones that hold a network of timm, as `network`.

    Args:
        name: timm's name of the network.
        pretrained: True downloads timm's weights when weights are initialised; for a file use
            ``init_cfg=dict(type='PretrainedBackbone', checkpoint=FILE)``.
        frozen: the network is not trained: no gradients, no dropout, running statistics.
        arguments: further arguments of the network, as timm has them.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    features_only = False
    multiple = (1, 1)
    """Images are resized to the next multiple of this height and width."""

    def __init__(self, name: str, pretrained: bool, frozen: bool, arguments: dict[str, Any],
                 init_cfg: dict[str, Any] | list[Any] | None = None) -> None:
        super().__init__(init_cfg)
        if pretrained and init_cfg is not None:
            raise ValueError('pretrained=True takes the weights of timm and init_cfg those of a file: choose one')
        self.name, self.pretrained, self.frozen, self.arguments = name, pretrained, frozen, dict(arguments)
        self.network = self._create()
        # timm has initialised it. mmengine would call `init_weights` again, over weights that were loaded.
        self.network.is_init = True
        if frozen:
            self.network.requires_grad_(False)

    def _create(self, pretrained: bool = False) -> Any:
        options = dict(features_only=True) if self.features_only else dict(num_classes=0)
        try:
            return timm.create_model(self.name, pretrained=pretrained, **options, **self.arguments)
        except RuntimeError as error:
            if 'Unknown model' not in str(error):
                raise
            similar = timm.list_models(f'*{self.name.split("_")[0]}*')
            raise ValueError(f"timm has no network '{self.name}'; similar: {first_names(similar) or 'none'} "
                             '(timm.list_models() lists all)') from error

    def init_weights(self) -> None:
        """Load weights from timm or from `init_cfg`; otherwise keep the random ones of timm."""
        if self.pretrained and not self.is_init:
            whole = self._download()
            self.network.load_state_dict({name: whole[name] for name in self.network.state_dict()})
        super().init_weights()

    def _download(self) -> State:
        try:
            return self._create(pretrained=True).state_dict()
        except OSError as error:
            raise WeightsError(
                f'timm could not download the weights of {self.name} ({error}). From a file: pretrained=False and '
                "init_cfg=dict(type='PretrainedBackbone', checkpoint=FILE)") from error

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen network stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Convert an image (B, 3, H, W) to feature maps, the finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.run(_resized(image, self.multiple))
        return self.finish(features)

    def run(self, image: Tensor) -> list[Tensor]:
        """Run the network on an image (B, 3, H, W); returns maps (B, C, h, w)."""
        raise NotImplementedError

    def finish(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        """Convert the network's maps to the backbone's, with gradients."""
        return tuple(features)

    # ------------------------------------------------------------------ weights

    def adapt_weights(self, state: State, prefix: str | None = None) -> tuple[State, list[str]]:
        """Rename weights named as in timm, or in formats that timm converts; returns them, and the names left out."""
        if prefix is None:  # a segmentor, or what its authors trained DINO with
            prefix = 'backbone.' if any(name.startswith('backbone.') for name in state) else ''
        left = [name for name in state if not name.startswith(prefix)]
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if any(name.startswith('network.') for name in state):  # a backbone of ours
            return {name: value for name, value in state.items() if name.startswith(('network.', 'pyramid.'))}, left
        taken = {}
        place = self._places()
        for name, value in self._converted(state).items():
            ours = place(name)
            if ours is None:
                left.append(name)
            else:
                taken[f'network.{ours}'] = value
        if not taken:
            raise WeightsError(f"no weights of timm's {self.name} found under {prefix!r}, neither in its names nor in "
                               f'those that timm converts; the file begins with: {first_names([*state, *left])}')
        return taken, left

    def _places(self) -> Callable[[str], str | None]:
        """A function from timm's names to ours; None for parts of timm's network that ours lacks.

        Unknown names within a part that ours has are unchanged, so that they are refused.
        """
        own, whole = self.network.state_dict(), self._whole('meta').state_dict()
        parts = {name.removeprefix('model.').split('.')[0] for name in own}

        def place(name: str) -> str | None:
            plain, flat, _ = options = renamings(name)
            strange = name not in whole and not parts.isdisjoint((plain.split('.')[0], flat.split('.')[0]))
            return next((option for option in options if option in own), name if strange else None)
        return place

    def _whole(self, device: str) -> Any:
        """The complete network, of which ours is a part; on 'meta' it has names and shapes only."""
        arguments = {key: value for key, value in self.arguments.items() if key != 'out_indices'}
        with torch.device(device):
            return timm.create_model(self.name, pretrained=False, num_classes=0, **arguments)

    def _converted(self, state: State) -> State:
        """Apply timm's own conversion of the authors' names, which also resizes position embeddings."""
        plain = self._whole('cpu') if self.features_only else self.network
        convert = getattr(sys.modules[type(plain).__module__], 'checkpoint_filter_fn', None)
        return state if convert is None else convert(dict(state), plain)


def _resized(image: Tensor, multiple: tuple[int, int]) -> Tensor:
    size = tuple(-(-side // unit) * unit for side, unit in zip(image.shape[2:], multiple))
    same = size == tuple(image.shape[2:])
    return image if same else F.interpolate(image, size, mode='bilinear', align_corners=False)


def in_order(indices: Sequence[int], count: int, what: str) -> tuple[int, ...]:
    """Count indices of maps from 0; they must ascend, as timm gives maps in its own order and each once."""
    numbers = [index + count if index < 0 else index for index in indices]
    if numbers and numbers[0] >= 0 and numbers[-1] < count and numbers == sorted(set(numbers)):
        return tuple(numbers)
    raise ValueError(f'{what}={tuple(indices)} must ascend within 0 to {count - 1}, or -{count} to -1')


def renamings(name: str) -> tuple[str, str, str]:
    """Names that timm's feature networks may give to a part: unchanged, flattened, or within `model`.

    The second joins the first two parts: `stages.0.x` is `stages_0.x`.
    """
    return name, name.replace('.', '_', 1), f'model.{name}'
