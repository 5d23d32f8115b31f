"""Checks of a config that came inside a checkpoint.

Such a config is a stranger's. Only what is listed here is built from it: classes by the place where they stand,
text by the name of its argument, numbers of moderate size. Nothing that is listed reads a file, opens an address or
looks up a Python object by name. A config that the user gives as a file is not checked.
"""

import keyword
import math
import re
from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from . import ExportError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BACKBONES = _names('''
    BEiT BiSeNetV1 BiSeNetV2 CGNet DDRNet ERFNet FastSCNN HRNet ICNet MAE MixVisionTransformer MobileNetV2 MobileNetV3
    MSCAN PCPVT PIDNet ResNeSt ResNet ResNetV1c ResNetV1d ResNeXt STDCContextPathNet STDCNet SVT SwinTransformer
    TIMMBackbone UNet VisionTransformer DeepLabResNet DeepLabVGG16 MiT TimmFeatures TimmViT''')
_HEADS = _names('''
    ANNHead APCHead ASPPHead CCHead DAHead DDRHead DMHead DNLHead DPTHead DepthwiseSeparableASPPHead
    DepthwiseSeparableFCNHead EMAHead EncHead FCNHead FPNHead GCHead ISAHead IterativeDecodeHead LRASPPHead LightHamHead
    NLHead OCRHead PIDHead PSAHead PSPHead PointHead SETRMLAHead SETRUPHead STDCHead SegformerHead
    SegmenterMaskTransformerHead UPerHead DAFormerHead DeepLabV2Head''')
_LOSSES = _names('''
    BoundaryLoss CrossEntropyLoss DiceLoss FocalLoss HuasdorffDisstanceLoss LovaszLoss OhemCrossEntropy SiLogLoss
    TverskyLoss''')
_NORMS = _names('BN BN1d BN2d GN IN IN1d IN2d LN MMSyncBN SyncBN')
_ACTIVATIONS = _names('''
    Clamp Clip ELU GELU HSigmoid HSwish LeakyReLU PReLU QuickGELU RReLU ReLU ReLU6 SiLU Sigmoid Swish Tanh''')
_CONVOLUTIONS = _names('Conv Conv1d Conv2d Conv2dAdaptivePadding ConvAWS ConvWS DCN DCNv2 SAC')

# Argument -> classes that it may name. Arguments that begin with `loss_` name losses.
_NETWORK = {
    'model': _names('EncoderDecoder CascadeEncoderDecoder HRDAEncoderDecoder'),
    'data_preprocessor': _names('SegDataPreProcessor'),
    'backbone': _BACKBONES, 'backbone_cfg': _BACKBONES,
    'decode_head': _HEADS, 'kernel_generate_head': _HEADS, 'scale_attention': _HEADS,
    'kernel_update_head': _names('KernelUpdateHead'), 'kernel_updator_cfg': _names('KernelUpdator'),
    'neck': _names('Feature2Pyramid FPN ICNeck JPU MLANeck MultiLevelNeck'),
    'norm_cfg': _NORMS, 'act_cfg': _ACTIVATIONS, 'ffn_act_cfg': _ACTIVATIONS, 'conv_cfg': _CONVOLUTIONS,
    'dcn': _CONVOLUTIONS, 'upsample_cfg': _names('DeconvModule InterpConv bilinear deconv nearest'),
    'dropout_layer': _names('DropPath Dropout'),
    'cfg': _names('ContextBlock GeneralizedAttention NonLocal2d'),  # of a ResNet's plugins
}
_PIPELINE = {'pipeline': _names('''
    LoadImage LoadImageFromFile Normalize PackSegInputs PackUDAInputs Pad Resize ResizeShortestEdge ResizeToMultiple
    ''')}
# Arguments whose value may be text, a single word: modes and variants.
_WORDS = _names('''
    arch attention_type block bottleneck_type classes color_type frozen_exclude fusion fusion_types input_transform
    interpolate_mode interpolation loss_name loss_type meta_keys mode out_type padding padding_mode patch_pad
    pooling_type position psa_type readout_type reduction stdc_type style upsample_mode variant''')
_CHOICES = {'imdecode_backend': ('cv2', 'pillow', 'tifffile'), 'backend': ('cv2', 'pillow')}
_TIMM_NAMES = ('name', 'model_name')
# Dropped: images are the user's files, whatever backend the training read its own with.
_DROPPED = ('backend_args', 'file_client_args')
# Of numbers, and of the integers of a list together, which may be the depths of stages.
_LARGEST_NUMBER = 2**14
_LARGEST = dict(scale_factor=16, scales=16, size_divisor=1024, min_kept=2**20)
_LARGEST_AREA = 2**26  # pixels, 8192 x 8192
_MOST_ENTRIES = 20_000


def accept_network(segmentor: Mapping) -> dict:
    """The config of a segmentor for inference, checked; an ExportError names the first entry that is not accepted."""
    return _Check(_NETWORK).typed(segmentor, 'model', 'model')


def accept_pipeline(pipeline: list) -> list[dict]:
    """The configs of a test pipeline, checked as those of a network are."""
    return [_Check(_PIPELINE).typed(transform, 'pipeline', 'test_pipeline') for transform in pipeline]


class _Check:
    """Copies a config, entry by entry, as far as accepted; `slots`: argument -> names of classes that it may name."""

    def __init__(self, slots: Mapping[str, frozenset[str]]) -> None:
        self.slots, self.entries = slots, 0

    def typed(self, config: Any, slot: str, place: str) -> dict:
        """A mapping whose `type` is one of the classes of `slot`."""
        if not isinstance(config, Mapping) or 'type' not in config:
            raise _refusal(place, 'must be a dict with a `type`')
        name, allowed = config['type'], _LOSSES if slot.startswith('loss_') else self.slots.get(slot, frozenset())
        if not isinstance(name, str) or name.removeprefix('mmseg.') not in allowed:
            raise _refusal(f'{place}.type', f'{name!r} is not among the classes that may stand there')
        return {'type': name, **self._mapping({key: config[key] for key in config if key != 'type'}, place)}

    def _mapping(self, config: Mapping, place: str) -> dict:
        for key in config:
            if not isinstance(key, str) or not key.isidentifier() or keyword.iskeyword(key) or key.startswith('_'):
                raise _refusal(place, f'{key!r} is not the name of an argument')
        return {key: self.value(value, key, f'{place}.{key}') for key, value in config.items() if key not in _DROPPED}

    def value(self, value: Any, key: str, place: str) -> Any:
        """Any value of the argument `key`."""
        self.entries += 1
        if self.entries > _MOST_ENTRIES:
            raise _refusal(place, f'is one of more than {_MOST_ENTRIES} entries')
        if isinstance(value, Mapping):
            return self.typed(value, key, place) if 'type' in value else self._mapping(value, place)
        if reason := excess(value, key):
            raise _refusal(place, reason)
        if isinstance(value, (list, tuple)):
            return type(value)(self.value(item, key, f'{place}[{i}]') for i, item in enumerate(value))
        if isinstance(value, str):
            _check_text(value, key, place)
        elif not (value is None or type(value) in (bool, int, float)):
            raise _refusal(place, f'a {type(value).__name__} is neither number nor text')
        return value


def excess(value: Any, key: str) -> str:
    """Why the number or the list that is the argument `key` describes images or depths that no memory holds, or ''."""
    if type(value) in (int, float) and not abs(value) <= (limit := _LARGEST.get(key, _LARGEST_NUMBER)):
        return f'{value} is larger than {limit}'
    integers = [item for item in value if type(item) is int] if isinstance(value, (list, tuple)) else []
    if integers and len(value) == len(integers) == 2 and math.prod(value) > _LARGEST_AREA:
        return f'{value[0]} x {value[1]} is larger than {_LARGEST_AREA} pixels'
    if sum(map(abs, integers)) > 4 * _LARGEST_NUMBER:
        return f'its integers add up to more than {4 * _LARGEST_NUMBER}'
    return ''


def _check_text(text: str, key: str, place: str) -> None:
    if key in _TIMM_NAMES:
        accepted = re.fullmatch(r'[\w.]{1,80}', text, re.ASCII) and timm.is_model(text)
    elif key in _CHOICES:
        accepted = text in _CHOICES[key]
    else:
        accepted = key in _WORDS and re.fullmatch(r'[\w-]{1,40}', text, re.ASCII)
    if not accepted:
        raise _refusal(place, f'{text[:60]!r} is not accepted there')


def _refusal(place: str, reason: str) -> ExportError:
    return ExportError(f'{place[:200]}: {reason}, because the config came inside a checkpoint. If you trust it, save '
                       'it as a file and give that, with --config')


class AllocationLimit(TorchDispatchMode):
    """Raise before the tensors made within this context take more than `limit` bytes in total.

    A few numbers of a config suffice to describe layers of a terabyte.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.taken = limit, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if not func._schema.is_mutable and not func.is_view:
            self.taken += _result_bytes(func, args, kwargs)
            if self.taken > self.limit:
                raise ExportError(f'the config describes a network of more than {self.limit / 2**20:.0f} MiB, '
                                  'although its weights are smaller')
        return func(*args, **kwargs)


def _result_bytes(func: Any, args: tuple, kwargs: dict) -> int:
    """Memory of what a function returns, found without computing it; of those that read values, only a minimum."""
    options = {'device': 'meta'} if any(argument.name == 'device' for argument in func._schema.arguments) else {}
    try:
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to('meta'), (args, kwargs))
        result = func(*args, **{**kwargs, **options})
    except (RuntimeError, NotImplementedError):
        return _LEAST_BYTES
    size = sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
    return max(size, _LEAST_BYTES)


_LEAST_BYTES = 2**14  # of any tensor: counts the objects around it, and the time that it takes to make them
