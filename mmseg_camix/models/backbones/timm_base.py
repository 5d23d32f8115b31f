"""What all networks of timm have in common as backbones."""

from __future__ import annotations

import sys

import timm
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg_camix.engine.weights.fitting import State, WeightsError, shown


class TimmBackbone(BaseModule):
    """Base of backbones that hold a network of timm, as `network`.

    Args:
        name: timm's name of the network.
        pretrained: True downloads timm's weights when weights are initialised; for files of one's
            own use ``init_cfg=dict(type='PretrainedBackbone', checkpoint=FILE)``.
        frozen: the network is not trained: no gradients, no dropout, running statistics.
        arguments: further arguments of the network, as timm has them.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    features_only = False

    def __init__(self, name: str, pretrained: bool, frozen: bool, arguments: dict,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        if pretrained and init_cfg is not None:
            raise ValueError('pretrained=True takes the weights of timm and init_cfg those of a file: choose one')
        self.name, self.pretrained, self.frozen, self.arguments = name, pretrained, frozen, dict(arguments)
        self.network = self._create()
        if frozen:
            self.network.requires_grad_(False)

    def _create(self, pretrained: bool = False) -> nn.Module:
        options = dict(features_only=True) if self.features_only else dict(num_classes=0)
        try:
            return timm.create_model(self.name, pretrained=pretrained, **options, **self.arguments)
        except RuntimeError as error:
            if 'Unknown model' not in str(error):
                raise
            similar = timm.list_models(f'*{self.name.split("_")[0]}*')
            raise ValueError(f"timm has no network '{self.name}'; similar: {shown(similar) or 'none'} "
                             '(timm.list_models() lists all)') from error

    def init_weights(self) -> None:
        """From timm, from `init_cfg`, or as timm made them at random."""
        if self.pretrained and not self.is_init:
            self.network.load_state_dict(self._create(pretrained=True).state_dict())
            self.is_init = True
        super().init_weights()

    def train(self, mode: bool = True) -> TimmBackbone:
        """A frozen network stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """image (B, 3, H, W) to feature maps, the finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.run(image)
        return self.finish(features)

    def run(self, image: Tensor) -> list[Tensor]:
        """The network itself: image (B, 3, H, W) to maps (B, C, h, w)."""
        raise NotImplementedError

    def finish(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        """What is made of the network's maps, with gradients."""
        return tuple(features)

    # ------------------------------------------------------------------ weights

    def adapt_weights(self, state: State, prefix: str | None = None) -> tuple[State, list[str]]:
        """Weights under timm's names, or those that timm converts, to ours; and the names left out."""
        if prefix is None:  # a segmentor, or what its authors trained DINO with
            prefix = 'backbone.' if any(name.startswith('backbone.') for name in state) else ''
        left = [name for name in state if not name.startswith(prefix)]
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if any(name.startswith('network.') for name in state):  # a backbone of ours
            return {name: value for name, value in state.items() if name.startswith(('network.', 'pyramid.'))}, left
        own = self.network.state_dict()
        parts = {name.split('.')[0] for name in own}
        taken = {}
        for name, value in self._converted(state).items():
            ours = next((other for other in renamings(name) if other in own), renamings(name)[1])
            if ours.split('.')[0] in parts:
                taken[f'network.{ours}'] = value
            else:
                left.append(name)
        if not taken:
            raise WeightsError(f"no weights of timm's {self.name} found under {prefix!r}, neither in its names nor in "
                               f'those that timm converts; the file begins with: {shown([*state, *left])}')
        return taken, left

    def _of_the_whole(self) -> dict:
        """Arguments of the network that the feature network is a part of."""
        return {key: value for key, value in self.arguments.items() if key != 'out_indices'}

    def _converted(self, state: State) -> State:
        """Through timm's own conversion, which knows the authors' names and resizes position embeddings."""
        plain = self.network
        if self.features_only:
            plain = timm.create_model(self.name, pretrained=False, num_classes=0, **self._of_the_whole())
        convert = getattr(sys.modules[type(plain).__module__], 'checkpoint_filter_fn', None)
        return state if convert is None else convert(dict(state), plain)


def renamings(name: str) -> tuple[str, str, str]:
    """What timm's feature networks may call a part: as it is, flattened, or within `model`.

    The second joins the first two parts: `stages.0.x` is `stages_0.x`.
    """
    return name, name.replace('.', '_', 1), f'model.{name}'
