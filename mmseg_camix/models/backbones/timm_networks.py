"""Networks of timm as backbones: those with maps of several strides, and plain vision transformers."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, Self

import timm
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from timm.layers import LayerNorm2d
from timm.models import group_parameters
from timm.models.eva import Eva
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_camix.weights.fitting import State, WeightsError, first_names
from mmseg_camix.weights.names import rename_efficientnet


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

    def forward(self, image: Tensor, **options: Tensor) -> tuple[Tensor, ...]:
        """Convert an image (B, 3, H, W) to feature maps, the finest first; `options` are those of `run`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.run(_resized(image, self.multiple), **options)
        return self.finish(features)

    def run(self, image: Tensor, **options: Tensor) -> list[Tensor]:
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
                               f'those that timm converts; the file begins with: {first_names([*state] or left)}. If '
                               "names of the network follow a prefix there, give prefix='...'")
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
        state = rename_efficientnet(state, plain.state_dict())
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


@MODELS.register_module()
class TimmFeatures(TimmBackbone):
    """Any network of timm that supports `features_only`: ConvNeXt, Swin, EfficientNet, ResNet, ...

    Accepts images of any size where the network can (Swin is configured to). A window or position embedding of fixed
    size is set with ``arguments=dict(img_size=512)``. For networks that accept only multiples of a stride,
    ``multiple_of=32`` resizes images.

    Args:
        name: timm's name, e.g. 'convnext_tiny'.
        out_indices: ascending indices of the maps returned, counted from the finest, or -1, -2 from the coarsest. None
            for the last four.
        multiple_of: images are resized to the next multiple of it.
        drop_path_rate: stochastic depth; 0 leaves the network's own default.
        pretrained, frozen, arguments, init_cfg: as in :class:`TimmBackbone`.
    """

    features_only = True

    def __init__(self, name: str, out_indices: Sequence[int] | None = None, pretrained: bool = False,
                 frozen: bool = False, drop_path_rate: float = 0.0, arguments: dict[str, Any] | None = None,
                 init_cfg: dict[str, Any] | list[Any] | None = None, multiple_of: int = 1) -> None:
        options = dict(arguments or {}, out_indices=tuple(out_indices or (-4, -3, -2, -1)))
        if drop_path_rate:
            options['drop_path_rate'] = drop_path_rate
        super().__init__(name, pretrained, frozen, options, init_cfg)
        info = self.network.feature_info
        in_order(options['out_indices'], len(info.info), f'{name}: out_indices')
        self.multiple = (multiple_of, multiple_of)
        self.out_channels = tuple(info.channels())
        self.out_strides = tuple(info.reduction())
        # Swin and similar networks return channels last.
        self._channels_last = str(getattr(self.network, 'output_fmt', 'NCHW')).endswith('NHWC')

    def _create(self, pretrained: bool = False) -> Any:
        try:
            network = super()._create(pretrained)
        except (IndexError, AssertionError) as error:
            in_order(self.arguments['out_indices'], len(self._whole('meta').feature_info), f'{self.name}: out_indices')
            raise error
        if getattr(getattr(network, 'patch_embed', None), 'strict_img_size', False):
            self.arguments.setdefault('strict_img_size', False)
            network = super()._create(pretrained)
        return network

    def run(self, image: Tensor, **options: Tensor) -> list[Tensor]:
        try:
            features = self.network(image)
        except (AssertionError, RuntimeError) as error:
            self._refuse_size(image, error)
            raise
        return [x.permute(0, 3, 1, 2).contiguous() for x in features] if self._channels_last else list(features)

    def _refuse_size(self, image: Tensor, error: Exception) -> None:
        coarsest = max(level['reduction'] for level in self.network.feature_info.info)
        height, width = image.shape[2:]
        if (height % coarsest or width % coarsest) and not isinstance(error, torch.OutOfMemoryError):
            raise ValueError(f'{self.name} does not take images of {height}x{width} pixels ({error}); '
                             f'multiple_of={coarsest} resizes them to the next size that it may take') from error

    @cached_property
    def _depths(self) -> dict[str, int]:
        """Parameter -> its stage as timm groups them, 0 the stem."""
        whole = self._whole('meta')
        try:
            groups = group_parameters(whole, whole.group_matcher(coarse=True), reverse=True)
        except (AttributeError, AssertionError) as error:
            raise ValueError(f'layer_decay: timm does not say how deep the parts of {self.name} lie; '
                             'leave it out') from error
        own = {name for name, _ in self.network.named_parameters()}
        return {ours: depth for name, depth in groups.items() for ours in renamings(name) if ours in own}

    @property
    def num_layers_of_decay(self) -> int:
        """Number of stages, for layer-wise decay of the learning rate."""
        return max(self._depths.values())

    def layer_of(self, name: str) -> int:
        """Depth of a parameter by its name: 0 the stem, k the k-th stage."""
        return self._depths[name.removeprefix('network.')]


class SimplePyramid(nn.Module):
    """Maps at 1/4, 1/2, 1 and 2 times the stride of a plain ViT's (Li et al., ViTDet, ECCV 2022).

    Args:
        channels: of each map; they stay.
    """

    rescales = (4.0, 2.0, 1.0, 0.5)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList([
            nn.Sequential(_doubled(channels), LayerNorm2d(channels), nn.GELU(), _doubled(channels)),
            _doubled(channels), nn.Identity(), nn.MaxPool2d(2, 2, ceil_mode=True)])

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (B, C, h, w) for all scales, or one for each, the finest first."""
        maps = list(features) * 4 if len(features) == 1 else list(features)
        return tuple(scale(x) for scale, x in zip(self.scales, maps))


def _doubled(channels: int) -> nn.Module:
    return nn.ConvTranspose2d(channels, channels, 2, 2)


class SelectedTokens(nn.Module):
    """Select patch tokens by index, instead of timm's random patch dropout.

    Args:
        kept: (B, K) long, the patches of each image.
        num_prefix: number of tokens before those of the patches, which are all kept.
        with_indices: whether the indices are returned, too: rotary position embeddings are selected by them.
    """

    def __init__(self, kept: Tensor, num_prefix: int, with_indices: bool) -> None:
        super().__init__()
        self.kept, self.num_prefix, self.with_indices = kept, num_prefix, with_indices

    def forward(self, tokens: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens (B, prefix + N, C) to (B, prefix + K, C)."""
        prefix, patches = tokens[:, :self.num_prefix], tokens[:, self.num_prefix:]
        index = self.kept[..., None].expand(-1, -1, tokens.shape[2])
        selected = torch.cat([prefix, patches.gather(1, index)], 1)
        return (selected, self.kept) if self.with_indices else selected


@contextmanager
def _selected(network: Any, kept: Tensor) -> Iterator[None]:
    """Context in which the network runs on the patches `kept`, (B, K) long."""
    before = network.patch_drop
    network.patch_drop = SelectedTokens(kept, network.num_prefix_tokens, isinstance(network, Eva))
    try:
        yield
    finally:
        network.patch_drop = before


def scatter_tokens(tokens: Tensor, kept: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens (B, K, C) at their places `kept`, (B, K) long, in a map (B, C, h, w) that is 0 elsewhere."""
    empty = tokens.new_zeros(len(tokens), size[0] * size[1], tokens.shape[2])
    filled = empty.scatter(1, kept[..., None].expand_as(tokens), tokens)
    return filled.transpose(1, 2).unflatten(2, size)


@MODELS.register_module()
class TimmViT(TimmBackbone):
    """A plain ViT of timm with a simple feature pyramid, at four strides as any backbone.

    Accepts images of any size: the position embedding is interpolated (DINOv3 computes its own), and images are resized
    to the next multiple of the patch, so that maps cover them exactly (patches of 14 pixels: 512 becomes 518).

    Args:
        name: timm's name, e.g. 'vit_large_patch14_dinov2' or 'vit_base_patch16_dinov3'.
        blocks: ascending indices of the blocks whose output is used, from 0 or (negative) from the end: one for all
            four scales, or one for each. Later blocks are removed.
        pyramid: False returns the maps of `blocks` unchanged, all at the patch's stride.
        norm: whether the network's last normalisation is applied to each map.
        drop_path_rate: stochastic depth of the last block.
        pretrained, frozen, arguments, init_cfg: as in :class:`TimmBackbone`; the pyramid is trained in any case.
    """

    starts_at_random = ('pyramid.',)

    def __init__(self, name: str, blocks: Sequence[int] = (-1,), pyramid: bool = True, norm: bool = True,
                 pretrained: bool = False, frozen: bool = False, drop_path_rate: float = 0.0,
                 arguments: dict[str, Any] | None = None, init_cfg: dict[str, Any] | list[Any] | None = None) -> None:
        options = dict(dynamic_img_size=True, drop_path_rate=drop_path_rate) | dict(arguments or {})
        super().__init__(name, pretrained, frozen, options, init_cfg)
        self.blocks = in_order(blocks, len(self.network.blocks), f'{name}: blocks')
        if pyramid and len(self.blocks) not in (1, 4):
            raise ValueError(f'TimmViT: the pyramid has 4 scales and needs 1 or 4 blocks, not {len(self.blocks)}')
        # Later blocks and the pooling would have parameters without gradients.
        self.network.prune_intermediate_layers(list(self.blocks), prune_norm=not norm)
        self.norm, self.patch = norm, tuple(self.network.patch_embed.feat_ratio(as_scalar=False))
        self.multiple = self.patch
        width = self.network.embed_dim
        self.pyramid = SimplePyramid(width) if pyramid else None
        # Indices of maps made by layers that start with random weights.
        self.fresh_maps = (0, 1, -4, -3) if pyramid else ()
        self.out_channels = (width,) * (4 if pyramid else len(self.blocks))
        rescales = SimplePyramid.rescales if pyramid else (1.0,) * len(self.blocks)
        self.out_strides = tuple(self.patch[0] / scale for scale in rescales)

    def _create(self, pretrained: bool = False) -> Any:
        try:
            network = super()._create(pretrained)
        except TypeError as error:
            if 'dynamic_img_size' not in str(error):
                raise
            network = None
        if all(hasattr(network, part) for part in ('forward_intermediates', 'prune_intermediate_layers', 'blocks')):
            return network
        raise ValueError(f"'{self.name}' is not a plain vision transformer for images of any size; use TimmFeatures("
                         f"name='{self.name}'), with arguments=dict(img_size=CROP) where its size is fixed")

    def run(self, image: Tensor, **options: Tensor) -> list[Tensor]:
        """Run the blocks; with ``kept``, (B, K) long, on these patches only, and maps are 0 at the others."""
        run = partial(self.network.forward_intermediates, image, indices=list(self.blocks), norm=self.norm,
                      intermediates_only=True)
        kept = options.get('kept')
        if kept is None:
            return list(run(output_fmt='NCHW'))
        with _selected(self.network, kept):
            tokens = run(output_fmt='NLC')
        size = self.network.patch_embed.dynamic_feat_size(tuple(image.shape[2:]))
        return [scatter_tokens(x, kept, size) for x in tokens]

    @property
    def drops_tokens(self) -> bool:
        """Whether `forward` accepts ``kept``."""
        return hasattr(self.network, 'patch_drop')

    def count_tokens(self, height: int, width: int) -> int:
        """Number of patches of an image."""
        return math.prod(-(-side // patch) for side, patch in zip((height, width), self.patch))

    def finish(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(features) if self.pyramid is None else self.pyramid(features)

    @property
    def num_layers_of_decay(self) -> int:
        """Number of blocks, for layer-wise decay of the learning rate."""
        return len(self.network.blocks)

    def layer_of(self, name: str) -> int:
        """Depth of a parameter by its name: 0 the embeddings, k the k-th block, last the pyramid."""
        part, *rest = name.removeprefix('network.').split('.')
        if part == 'blocks':
            return int(rest[0]) + 1
        if part == 'pyramid':
            return self.num_layers_of_decay + 1
        return self.num_layers_of_decay if part in ('norm', 'fc_norm') else 0
