"""The only module that accesses mmseg's segmentors, heads and losses.

Everything else in the package uses a segmentor through these functions, so that a peculiarity of mmseg (heads that
return tuples while training, cascades, losses that take weights only from a sampler) is handled once, here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_camix.ops.boxes import Box
from mmseg_camix.type_names import type_name

Features: TypeAlias = Any
"""What a backbone (or neck) returns: usually a tuple of maps (B, K, h, w)."""
Losses: TypeAlias = dict[str, Any]
"""Name -> scalar tensor, or list of them."""
ResultT = TypeVar('ResultT')

# Heads that return several maps while training, and the index of the one that they return in testing.
_PREDICTION_OF_TUPLE = {'DDRHead': 0, 'EncHead': 0, 'IterativeDecodeHead': -1, 'PIDHead': 1}
# Heads that give no map of class logits, and why.
_MASK_HEAD = 'predicts masks and their classes, not the class of each pixel'
_WITHOUT_LOGITS = {
    'MaskFormerHead': _MASK_HEAD, 'Mask2FormerHead': _MASK_HEAD, 'SideAdapterCLIPHead': _MASK_HEAD,
    'PointHead': 'trains on points and gives no map of logits for every image'}
_ADVICE = ('Use a per-pixel head such as DepthwiseSeparableASPPHead, SegformerHead, UPerHead or FCNHead (of a cascade, '
           'keep the per-pixel heads)')

# The largest image on which a network is tried when a model is built.
PROBE_SIZE = 128
# A crop needs at least this many logits on each side.
MIN_CELLS = 2


class UnsupportedSegmentorError(TypeError):
    """The segmentor cannot be adapted, because it gives no per-pixel logits."""


@dataclass(frozen=True)
class Output:
    """One map of logits that a network gives for an image; losses on it are multiplied by its weight."""

    logits: Tensor
    """(B, C, h, w), at the head's own resolution."""
    weight: float = 1.0
    box: Box | None = None
    """The region of the image that the logits describe; None for the whole image."""


# ------------------------------------------------------------------ heads


def decode_heads(segmentor: Any) -> list[Any]:
    """The decode heads in the order in which a cascade runs them."""
    head = segmentor.decode_head
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def single_heads(segmentor: Any) -> list[Any]:
    """The heads that map features to logits, including those inside a head that fuses their outputs."""
    return [inner for head in decode_heads(segmentor) for inner in getattr(head, 'single_heads', [head])]


def main_head(segmentor: Any) -> Any:
    """The head whose output is the prediction."""
    return decode_heads(segmentor)[-1]


def check_config(segmentor: Mapping[str, Any]) -> None:
    """Raise if a decode head of the config cannot be adapted; some of them cannot even be built."""
    heads = segmentor.get('decode_head') or ()
    for head in heads if isinstance(heads, Sequence) else [heads]:
        if isinstance(head, Mapping) and head.get('type'):
            _check_name(type_name(head))


def check(segmentor: Any) -> None:
    """Raise if the segmentor's heads do not classify pixels."""
    name = type(segmentor).__name__
    for method in ('extract_feat', '_decode_head_forward_train'):
        if not hasattr(segmentor, method):
            raise UnsupportedSegmentorError(
                f'segmentor {name} has no `{method}`; derive it from EncoderDecoder or '
                'CascadeEncoderDecoder, or give it that method with their signature')
    for head in decode_heads(segmentor):
        _check_head(head)


def _check_name(name: str, kind: str | None = None) -> None:
    if reason := _WITHOUT_LOGITS.get(kind or name):
        raise UnsupportedSegmentorError(f'decode head {name} {reason}, so it cannot be adapted. {_ADVICE}')


def _check_head(head: Any) -> None:
    name = type(head).__name__
    for base in type(head).__mro__:
        _check_name(name, base.__name__)
    if not isinstance(head, BaseDecodeHead) and not getattr(head, 'per_pixel_logits', False):
        raise UnsupportedSegmentorError(
            f'decode head {name} gives no per-pixel logits (it is not a BaseDecodeHead), which pseudo-labels need. '
            f'{_ADVICE}; a custom head that returns (B, C, h, w) logits declares it with the class attribute '
            '`per_pixel_logits = True`')
    if head.out_channels != head.num_classes or head.out_channels == 1:
        raise UnsupportedSegmentorError(
            f'decode head {name} has out_channels={head.out_channels} for num_classes='
            f'{head.num_classes}; pseudo-labels need one logit per class, the background included. Leave out_channels '
            'unset, with num_classes of at least 2 (two classes then use a softmax)')


# ------------------------------------------------------------------ passes


def draws_crops(segmentor: Any) -> bool:
    """Whether the segmentor is trained on crops that it draws itself: ``extract_feat(image, generator)``."""
    return getattr(segmentor, 'draws_crops', False)


def extract(segmentor: Any, image: Tensor, generator: torch.Generator | None = None,
            kept: Tensor | None = None) -> Features:
    """Features of the image, (B, 3, H, W): backbone and neck.

    Args:
        generator: on the host, of a pass that trains the segmentor; None for a prediction of the whole image.
        kept: (B, K) long, the tokens of each image on which the backbone runs; None for all.
    """
    if kept is not None:
        features = segmentor.backbone(image, kept=kept)
        return segmentor.neck(features) if segmentor.with_neck else features
    return segmentor.extract_feat(image, generator) if draws_crops(segmentor) else segmentor.extract_feat(image)


def context_image(segmentor: Any, image: Tensor) -> Tensor:
    """The image (B, 3, H, W) at the resolution of the features that objectives compare."""
    reduced: Tensor = segmentor.context(image) if draws_crops(segmentor) else image
    return reduced


def _context(features: Features) -> Features:
    """The features of the whole image, where a segmentor returns those of its parts as well."""
    return getattr(features, 'context', features)


def outputs(segmentor: Any, features: Features) -> tuple[Output, ...]:
    """All maps of logits that the student is trained on; the first one is the prediction for the whole image.

    A segmentor gives several maps (of several resolutions, say) by a method ``outputs(features)`` that returns a
    sequence of :class:`Output`. All others give the one map of their main head.
    """
    if hasattr(segmentor, 'outputs'):
        return tuple(segmentor.outputs(features))
    return (Output(_main_logits(segmentor, features)),)


def decode(segmentor: Any, features: Features) -> Tensor:
    """The prediction: logits (B, C, h, w) at the head's own resolution."""
    return outputs(segmentor, features)[0].logits


def _main_logits(segmentor: Any, features: Features) -> Tensor:
    """Logits (B, C, h, w) of the main head; a cascade runs all its heads."""
    first, *later = decode_heads(segmentor)
    output = first.forward(features)
    for head in later:
        output = head.forward(features, output)
    return _prediction(main_head(segmentor), output)


def _prediction(head: nn.Module, output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output
    name = type(head).__name__
    if isinstance(output, (tuple, list)) and trains_on_several_maps(head):
        # In testing these heads return only the prediction, so the tuple means training mode.
        known = next(base.__name__ for base in type(head).__mro__ if base.__name__ in _PREDICTION_OF_TUPLE)
        prediction: Tensor = output[_PREDICTION_OF_TUPLE[known]]
        return prediction
    raise UnsupportedSegmentorError(
        f'decode head {name} returned {type(output).__name__} instead of a (B, C, h, w) tensor of '
        'logits; only heads that classify pixels can be adapted')


def trains_on_several_maps(head: nn.Module) -> bool:
    """Whether the head returns a tuple while training."""
    return any(base.__name__ in _PREDICTION_OF_TUPLE for base in type(head).__mro__)


def head_input(segmentor: Any) -> int:
    """Index of the map that the main head reads; the last one if it reads several."""
    head = main_head(segmentor)
    if any(base.__name__ == 'PIDHead' for base in type(head).__mro__):
        return 1  # the middle one of three streams; in_index is not used
    index = getattr(head, 'in_index', -1)  # K-Net and custom heads may not have it
    return index if isinstance(index, int) else list(index)[-1]


def feature_map(features: Features, index: int) -> Tensor:
    """One of the maps (B, K, h, w) that :func:`extract` returns, or the only one."""
    features = _context(features)
    if isinstance(features, Tensor):
        return features
    if not -len(features) <= index < len(features):
        raise ValueError(f'features={index}: the backbone (or neck) gives {len(features)} maps, 0 to '
                         f'{len(features) - 1}')
    selected: Tensor = features[index]
    return selected


# ------------------------------------------------------------------ losses


def supervised_losses(segmentor: Any, features: Features, samples: list[Any],
                      computed: Sequence[Output] = ()) -> Losses:
    """The segmentor's own losses on labelled images, auxiliary heads included.

    ``computed`` is the result of :func:`outputs` for the features, if available.
    """
    if hasattr(segmentor, 'outputs'):
        losses = _losses_of_outputs(segmentor, computed or outputs(segmentor, features), samples)
    else:  # these heads may need more than their logits, e.g. K-Net and PIDNet
        losses = segmentor._decode_head_forward_train(features, samples)
    if getattr(segmentor, 'with_auxiliary_head', False):
        losses.update(segmentor._auxiliary_head_forward_train(_context(features), samples))
    return losses


def _losses_of_outputs(segmentor: Any, outputs: Sequence[Output], samples: list[Any]) -> Losses:
    losses: Losses = {}
    for index, output in enumerate(outputs):
        cropped = samples if output.box is None else samples_of(output.box.crop(_stacked_labels(samples)))
        own = scale_losses(main_head(segmentor).loss_by_feat(output.logits, cropped), output.weight)
        losses.update({f'decode{index or ""}.{name}': value for name, value in own.items()})
    return losses


def scale_losses(losses: Losses, factor: float) -> Losses:
    """The losses times a factor; other entries (an accuracy) are unchanged."""
    return {name: value if 'loss' not in name else
            [item * factor for item in value] if isinstance(value, list) else value * factor
            for name, value in losses.items()}


def labels_of(samples: list[Any]) -> Tensor | None:
    """(B, H, W) long ground truth, or None if the samples carry none (a target domain)."""
    return _stacked_labels(samples) if all('gt_sem_seg' in sample for sample in samples) else None


def _stacked_labels(samples: list[Any]) -> Tensor:
    return torch.cat([sample.gt_sem_seg.data for sample in samples]).long()


def samples_of(labels: Tensor) -> list[SegDataSample]:
    """Data samples that carry ``labels``, (B, H, W) long, as ground truth."""
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None]), metainfo=dict(
        img_shape=tuple(label.shape), ori_shape=tuple(label.shape))) for label in labels]


# ------------------------------------------------------------------ a trial when a model is built


def check_crop(segmentor: Any, crop: tuple[int, int] | None) -> int:
    """Return the stride of the logits; raise if the network cannot process this crop (height, width).

    A blank image of the crop's size (a part of it, if large) passes through the network once. That proves, when the
    model is built, that it gives logits of the right shape.
    """
    def run(image: Tensor) -> Tensor:
        return decode(segmentor, extract(segmentor, image))

    try:
        logits, (height, width) = run_blank(segmentor, crop, run)
    except UnsupportedSegmentorError:
        raise
    except Exception as error:
        raise ValueError(
            f'the segmentor cannot process a blank image ({error}); is the crop size '
            f"(data_preprocessor.size={crop}) smaller than the network's stride, or a number of "
            'channels wrong?') from error
    num_classes = main_head(segmentor).num_classes
    if logits.dim() != 4 or logits.shape[1] != num_classes:
        raise UnsupportedSegmentorError(
            f'{type(main_head(segmentor)).__name__} gives an output of shape {tuple(logits.shape)} for a '
            f'{height}x{width} image; expected (1, {num_classes}, h, w)')
    stride = _stride(segmentor, (height, width), logits, run)
    if min(height, width) < MIN_CELLS * stride:
        raise ValueError(f'crop {crop} is too small for an output stride of {stride}: fewer than '
                         f'{MIN_CELLS}x{MIN_CELLS} logits per image. Choose a larger crop '
                         '(data_preprocessor.size and the crop of both pipelines)')
    return stride


def feature_shape(segmentor: Any, crop: tuple[int, int] | None, index: int) -> tuple[int, int]:
    """Channels of a feature map, and its stride in pixels; measured on a blank image as in :func:`check_crop`."""
    def run(image: Tensor) -> Tensor:
        return feature_map(extract(segmentor, image), index)

    features, size = run_blank(segmentor, crop, run)
    if features.dim() != 4:
        raise UnsupportedSegmentorError(f'features={index} of {type(segmentor.backbone).__name__} have shape '
                                        f'{tuple(features.shape)}; expected a map, (1, K, h, w)')
    return features.shape[1], _stride(segmentor, size, features, run)


def run_blank(segmentor: Any, crop: tuple[int, int] | None,
              run: Callable[[Tensor], ResultT]) -> tuple[ResultT, tuple[int, int]]:
    """Result of ``run`` on a blank image, and the image's size: a part of the crop, or all of it if that fails."""
    whole = crop or (PROBE_SIZE, PROBE_SIZE)
    part = (min(whole[0], PROBE_SIZE), min(whole[1], PROBE_SIZE))
    with _evaluated(segmentor):
        try:
            return run(torch.zeros(1, 3, *part)), part
        except UnsupportedSegmentorError:
            raise
        except Exception:
            if part == tuple(whole):
                raise
            # A transformer with patches of 14 pixels, say, accepts only multiples of 14.
            return run(torch.zeros(1, 3, *whole)), whole


def _stride(segmentor: Any, size: tuple[int, int], output: Tensor, run: Callable[[Tensor], Tensor]) -> int:
    """Pixels per cell of an output (1, K, h, w), which ``run`` gives for a blank image of ``size``.

    Networks that pad by half their kernels give one cell more than fits (65 for 512 pixels at stride 8). Where the
    quotient is not a power of two, the cells that an image of twice the height adds are counted instead.
    """
    height, width = size
    quotient = height / output.shape[2]
    if not (quotient.is_integer() and int(quotient).bit_count() == 1):
        with _evaluated(segmentor), suppress(Exception):  # some networks accept one size only
            quotient = height / (run(torch.zeros(1, 3, 2 * height, width)).shape[2] - output.shape[2])
    return max(1, round(quotient))


@contextmanager
def _evaluated(segmentor: Any) -> Iterator[None]:
    was_training = segmentor.training
    segmentor.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        segmentor.train(was_training)
