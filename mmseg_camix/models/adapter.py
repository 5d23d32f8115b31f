"""The one file that touches mmseg's segmentors, heads and losses.

Everything else in the package sees a segmentor through these functions, so that a peculiarity of
mmseg (heads that return tuples while training, cascades, losses that take weights only from a
sampler) is met once, here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor, nn

# Heads that return several maps while training, and which is the prediction they give in testing.
_PREDICTION_OF_TUPLE = {'DDRHead': 0, 'EncHead': 0, 'IterativeDecodeHead': -1, 'PIDHead': 1}

# The largest image that a network is tried on when a model is built.
PROBE_SIZE = 128
# Fewer logits than this on a side and a crop tells nothing about places.
MIN_CELLS = 2


class UnsupportedSegmentorError(TypeError):
    """The segmentor cannot be adapted, because it gives no per-pixel logits."""


def heads(segmentor: nn.Module) -> list[nn.Module]:
    """The decode heads in the order in which a cascade runs them."""
    head = segmentor.decode_head
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def main_head(segmentor: nn.Module) -> nn.Module:
    """The head whose output is the prediction."""
    return heads(segmentor)[-1]


def check(segmentor: nn.Module) -> None:
    """Raise where the segmentor's head does not classify pixels, and say what would do."""
    name = type(segmentor).__name__
    for method in ('extract_feat', '_decode_head_forward_train'):
        if not hasattr(segmentor, method):
            raise UnsupportedSegmentorError(
                f'segmentor {name} has no `{method}`; derive it from EncoderDecoder or '
                'CascadeEncoderDecoder, or give it that method with their signature')
    for head in heads(segmentor):
        _check_head(head)


def _check_head(head: nn.Module) -> None:
    name = type(head).__name__
    if not isinstance(head, BaseDecodeHead) and not getattr(head, 'per_pixel_logits', False):
        raise UnsupportedSegmentorError(
            f'decode head {name} gives no per-pixel logits (it is not a BaseDecodeHead), so there is '
            'nothing to take pseudo-labels from. Use a per-pixel head such as DepthwiseSeparableASPPHead, '
            'SegformerHead, UPerHead or FCNHead; a head of your own that does return (B, C, h, w) '
            'logits can say so with the class attribute `per_pixel_logits = True`')
    if any(base.__name__ == 'PointHead' for base in type(head).__mro__):
        raise UnsupportedSegmentorError(
            f'decode head {name} trains on points and gives no map of logits for every image; leave it out of '
            'the cascade, whose other heads can be adapted')
    if head.out_channels != head.num_classes:
        raise UnsupportedSegmentorError(
            f'decode head {name} has out_channels={head.out_channels} for num_classes='
            f'{head.num_classes}; pseudo-labels need one logit per class. Leave out_channels unset '
            '(two classes then use a softmax)')


def extract(segmentor: nn.Module, image: Tensor) -> object:
    """Backbone and neck, once. image: (B, 3, H, W)."""
    return segmentor.extract_feat(image)


def head_input(segmentor: nn.Module) -> int:
    """Index of the map that the main head reads; the last one, where it reads several."""
    head = main_head(segmentor)
    if any(base.__name__ == 'PIDHead' for base in type(head).__mro__):
        return 1  # the middle one of three streams; in_index is not used
    index = getattr(head, 'in_index', -1)  # K-Net and heads of one's own may not say
    return index if isinstance(index, int) else list(index)[-1]


def feature_map(features: object, index: int) -> Tensor:
    """One of the maps (B, K, h, w) that :func:`extract` gives; a backbone with a single one gives that."""
    if isinstance(features, Tensor):
        return features
    if not -len(features) <= index < len(features):
        raise ValueError(f'features={index}: the backbone (or neck) gives {len(features)} maps, 0 to '
                         f'{len(features) - 1}')
    return features[index]


def feature_shape(segmentor: nn.Module, crop: tuple[int, int] | None, index: int) -> tuple[int, int]:
    """Channels of a feature map, and its stride in pixels; of a blank image as in :func:`check_crop`."""
    found, (height, _) = _on_blank(segmentor, crop, lambda image: feature_map(extract(segmentor, image), index))
    if found.dim() != 4:
        raise UnsupportedSegmentorError(f'features={index} of {type(segmentor.backbone).__name__} have shape '
                                        f'{tuple(found.shape)}; expected a map, (1, K, h, w)')
    return found.shape[1], _stride(height, found)


def decode(segmentor: nn.Module, features: object) -> Tensor:
    """Features to logits (B, C, h, w) at the head's own resolution; a cascade runs all its heads."""
    first, *later = heads(segmentor)
    output = first.forward(features)
    for head in later:
        output = head.forward(features, output)
    return _prediction(output, main_head(segmentor))


def _prediction(output: object, head: nn.Module) -> Tensor:
    if isinstance(output, Tensor):
        return output
    name = type(head).__name__
    known = [base.__name__ for base in type(head).__mro__ if base.__name__ in _PREDICTION_OF_TUPLE]
    if known and isinstance(output, (tuple, list)):
        # In testing these heads return the prediction alone, so the tuple means training mode.
        return output[_PREDICTION_OF_TUPLE[known[0]]]
    raise UnsupportedSegmentorError(
        f'decode head {name} returned {type(output).__name__} instead of a (B, C, h, w) tensor of '
        'logits; only heads that classify pixels can be adapted')


def supervised_losses(segmentor: nn.Module, features: object, samples: list) -> dict[str, Tensor]:
    """The segmentor's own losses on labelled images, auxiliary heads included."""
    losses = segmentor._decode_head_forward_train(features, samples)
    if segmentor.with_auxiliary_head:
        losses.update(segmentor._auxiliary_head_forward_train(features, samples))
    return losses


def labels_of(samples: list) -> Tensor | None:
    """(B, H, W) long ground truth, or None where the samples carry none (a target domain)."""
    if any('gt_sem_seg' not in sample for sample in samples):
        return None
    return torch.cat([sample.gt_sem_seg.data for sample in samples]).long()


def samples_of(label: Tensor) -> list[SegDataSample]:
    """Data samples that carry ``label``, (B, H, W) long, as ground truth."""
    return [SegDataSample(gt_sem_seg=PixelData(data=one[None]), metainfo=dict(
        img_shape=tuple(one.shape), ori_shape=tuple(one.shape))) for one in label]


def check_crop(segmentor: nn.Module, crop: tuple[int, int] | None) -> int:
    """Stride of the logits; an error where the network cannot work on this crop (height, width).

    A blank image of the crop's size (a part of it, if large) goes through the network once, which
    proves when the model is built that it gives logits of the right shape.
    """
    try:
        logits, (height, width) = _on_blank(segmentor, crop, lambda image: decode(segmentor, extract(segmentor, image)))
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
    stride = _stride(height, logits)
    if min(height, width) < MIN_CELLS * stride:
        raise ValueError(f'crop {crop} is too small for an output stride of {stride}: fewer than '
                         f'{MIN_CELLS}x{MIN_CELLS} logits per image. Choose a larger crop '
                         '(data_preprocessor.size and the crop of both pipelines)')
    return stride


def _on_blank(segmentor: nn.Module, crop: tuple[int, int] | None,
              run: Callable[[Tensor], Tensor]) -> tuple[Tensor, tuple[int, int]]:
    """``run`` on a blank image, and its size: a part of the crop, or all of it where no other size will do."""
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
            # A transformer with patches of 14 pixels, say, takes multiples of 14 alone.
            return run(torch.zeros(1, 3, *whole)), tuple(whole)


def _stride(height: int, found: Tensor) -> int:
    return max(1, round(height / found.shape[2]))


@contextmanager
def _evaluated(segmentor: nn.Module) -> Iterator[None]:
    was_training = segmentor.training
    segmentor.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        segmentor.train(was_training)
