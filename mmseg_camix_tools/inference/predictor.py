"""Images to label maps, as mmseg's segmentors predict, in memory that does not grow with the image's size."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mmseg_camix.datasets.image_files import read_bytes
from mmseg_camix.datasets.transforms import LoadImage
from mmseg_camix.type_names import type_name

# Logits that are brought to the image's size at once: 128 MiB of them.
BAND_VALUES = 2**25


class Predictor:
    """A segmentor with its test pipeline, for images that belong to no data set.

    Args:
        segmentor: plain, in evaluation mode, on its device.
        pipeline: configs of its transforms, from an image file to packed inputs.
    """

    def __init__(self, segmentor: nn.Module, pipeline: Sequence[dict]) -> None:
        self.segmentor = segmentor
        with DefaultScope.overwrite_default_scope('mmseg'):
            self._load = _loader(pipeline[0])
            self._transform = Compose(list(pipeline[1:]))

    def read(self, path: str) -> np.ndarray:
        """(H, W, 3) BGR of an image file; an OSError where it is missing, damaged, or no image."""
        try:
            loaded = self._load(dict(img_path=path))
        except OSError as error:
            reason = str(error).split('; ')[0]  # the rest is about lists of a data set
            raise OSError(reason if path in reason else f'{path}: {reason}') from error
        except Exception as error:  # loaders of other packages may raise anything on a damaged file
            raise OSError(f'{path}: {error}') from error
        if loaded is None or loaded.get('img') is None:
            raise OSError(f'{path}: the image is damaged or of an unknown format')
        return loaded['img']

    def prepare(self, image: np.ndarray, path: str = '') -> dict:
        """(H, W, 3) BGR to the network's input; inputs of one size can be labelled as a batch."""
        shape = image.shape[:2]
        return self._transform(dict(img=image, img_path=path, img_shape=shape, ori_shape=shape))

    @torch.inference_mode()
    def label(self, prepared: Sequence[dict]) -> list[np.ndarray]:
        """The label map (H, W) of each image, at its loaded size; dtype as of :func:`label_map`."""
        return [self.decide(logits, sample) for logits, sample in self.scores(prepared)]

    @torch.inference_mode()
    def scores(self, prepared: Sequence[dict]) -> list[tuple[Tensor, SegDataSample]]:
        """(C, h, w) logits of each image at the size of the network's input, without padding, and its sample."""
        batch = self.segmentor.data_preprocessor(pseudo_collate(list(prepared)), False)
        inputs, samples = batch['inputs'], batch['data_samples']
        logits = self._logits(inputs, [sample.metainfo for sample in samples])
        return [(_without_padding(scores, sample), sample) for scores, sample in zip(logits, samples)]

    def _logits(self, inputs: Tensor, metas: list[dict]) -> Tensor:
        """(B, C, h, w) at the inputs' size, in whole or by sliding windows, by the config's test_cfg."""
        config = self.segmentor.test_cfg or {}
        if config.get('mode', 'whole') == 'slide':
            return sliding_logits(self.segmentor, inputs, config['crop_size'], config['stride'])
        return self.segmentor.encode_decode(inputs, metas)

    def decide(self, logits: Tensor, sample: SegDataSample) -> np.ndarray:
        """The label map (H, W) of one result of :meth:`scores`, as of :meth:`label`."""
        threshold = self.segmentor.decode_head.threshold if len(logits) == 1 else None
        return label_map(logits, sample.ori_shape, self.segmentor.align_corners, threshold).cpu().numpy()


def device_of(name: str | None) -> torch.device:
    """The device of this name, which must exist; without a name, a GPU if there is one."""
    name = name or ('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'--device {name}: {str(error).splitlines()[0]}') from error


def _without_padding(logits: Tensor, sample: SegDataSample) -> Tensor:
    """Logits (C, h, w) of the image, whose input was padded and perhaps flipped."""
    left, right, top, bottom = sample.get('img_padding_size', sample.get('padding_size', (0, 0, 0, 0)))
    height, width = logits.shape[1:]
    logits = logits[:, top:height - bottom, left:width - right]
    if sample.get('flip', False):
        logits = logits.flip(2 if sample.flip_direction == 'horizontal' else 1)
    return logits


def _loader(config: dict) -> Callable[[dict], dict | None]:
    """The loader of images: ours where it is equivalent, because it rejects truncated files."""
    plain = set(config) <= {'type', 'to_float32', 'backend_args'}
    if type_name(config) in ('LoadImage', 'LoadImageFromFile') and plain:
        return LoadImage(config.get('to_float32', False), config.get('backend_args'))
    stock = Compose([config])

    def load(results: dict) -> dict | None:
        read_bytes(results['img_path'], config.get('backend_args'))  # refuses sizes that cannot be true
        return stock(results)

    return load


def sliding_logits(segmentor: nn.Module, image: Tensor, window: Sequence[int], stride: Sequence[int]) -> Tensor:
    """The mean of the windows' logits, (B, C, H, W), bitwise equal to mmseg's ``slide_inference``, in less memory.

    Args:
        segmentor: plain.
        image: (B, 3, H, W), normalised.
        window: (height, width); larger than the image, it is the image.
        stride: (vertical, horizontal) step.
    """
    height, width = image.shape[2:]
    total, count = None, image.new_zeros(1, 1, height, width)
    for y1, y2 in _spans(height, window[0], stride[0]):
        for x1, x2 in _spans(width, window[1], stride[1]):
            part = image[:, :, y1:y2, x1:x2]
            logits = segmentor.encode_decode(part, [dict(img_shape=part.shape[2:])] * len(part))
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], height, width)
            total[:, :, y1:y2, x1:x2] += logits
            count[:, :, y1:y2, x1:x2] += 1
    return total.div_(count)


def _spans(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """Windows that cover a length; the last one is moved back to its end."""
    ends = [min(i * stride + window, length) for i in range(max(length - window + stride - 1, 0) // stride + 1)]
    return [(max(end - window, 0), end) for end in ends]


def label_map(logits: Tensor, size: Sequence[int], align_corners: bool, threshold: float | None = None,
              band_values: int = BAND_VALUES) -> Tensor:
    """The class of each pixel, (H, W) uint8 or, of more than 256 classes, int16; band by band where it is large.

    Args:
        logits: (C, h, w).
        size: (H, W) of the result, to which logits are interpolated.
        align_corners: as in ``torch.nn.functional.interpolate``.
        threshold: for a single logit: probability from which on a pixel is of class 1.
        band_values: number of values to interpolate at once.
    """
    height, width = size
    rows = max(1, band_values // (len(logits) * width))
    if rows >= height:
        return _decided(interpolate(logits[None], tuple(size), mode='bilinear', align_corners=align_corners)[0],
                        threshold)
    return torch.cat([_decided(_band(logits, start, min(start + rows, height), size, align_corners), threshold)
                      for start in range(0, height, rows)])


def _band(logits: Tensor, start: int, stop: int, size: Sequence[int], align_corners: bool) -> Tensor:
    """Rows start to stop of the interpolated map, (C, stop - start, W)."""
    height, width = size
    below = logits.shape[1]
    row = torch.arange(start, stop, device=logits.device, dtype=torch.float32)
    place = row * (below - 1) / max(height - 1, 1) if align_corners else ((row + 0.5) * below / height - 0.5).clamp(0)
    upper = place.floor().long().clamp(max=below - 1)
    lower = (upper + 1).clamp(max=below - 1)
    share = (place - upper)[None, :, None]
    rows = logits[:, upper] * (1 - share) + logits[:, lower] * share
    return interpolate(rows[None], (stop - start, width), mode='bilinear', align_corners=align_corners)[0]


def _decided(logits: Tensor, threshold: float | None) -> Tensor:
    if threshold is not None:
        return (logits[0].sigmoid() > threshold).byte()
    return logits.argmax(0).to(torch.uint8 if len(logits) <= 256 else torch.int16)
