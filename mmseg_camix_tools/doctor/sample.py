"""Load a sample as training would, and record its properties after each transform."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmcv.transforms import Compose
from PIL import Image

from mmseg_camix.datasets.encodings import IGNORE
from mmseg_camix.datasets.seeding import seeded
from mmseg_camix.type_names import loads_label, type_name

ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF's tag, and its value of images that are not rotated


@dataclass
class Sample:
    """Properties of a sample; sizes are (height, width)."""

    image: str  # path
    label: str = ''  # path; '' if none is loaded
    mode: str = ''  # Pillow's mode of the image file ('RGB', 'L', 'RGBA', 'I;16', ...), '' if it cannot be opened
    rotated: bool = False  # whether EXIF rotates the image when it is loaded
    loaded: tuple[int, int] | None = None  # size after loading
    resized: tuple[int, int] | None = None  # size before cropping
    label_resized: tuple[int, int] | None = None  # the label's size before cropping
    final: tuple[int, int] | None = None  # size of the network's input
    label_shape: tuple[int, ...] | None = None  # of the loaded label
    counts: np.ndarray | None = None  # (256,) pixels of each label, as loaded; None without
    outside: tuple[int, ...] = ()  # labels that are neither a class nor ignored
    mean: tuple[float, ...] = ()  # of the loaded image's channels, BGR
    std: tuple[float, ...] = ()  # likewise
    packed: tuple[str, ...] = ()  # keys of the pipeline's result
    crop_box: tuple[int, int, int, int] | None = None  # (x1, y1, x2, y2) of RecordedRandomCrop, if there is one
    error: tuple[str, str] | None = None  # (transform, message) where the pipeline failed
    unreadable: bool = False  # whether it failed on a damaged file


class Examiner:
    """Runs a pipeline, given as configs, transform by transform; `num_classes` is None if the dataset names none."""

    def __init__(self, pipeline: Sequence[dict], num_classes: int | None) -> None:
        self.kinds = [type_name(t) for t in pipeline]
        self.loads_label = [loads_label(t) for t in pipeline]
        self.transforms = Compose(list(pipeline)).transforms
        self.num_classes = num_classes

    def __call__(self, info: dict) -> Sample:
        sample = Sample(info.get('img_path', ''), info.get('seg_map_path') or '' if any(self.loads_label) else '')
        _read_format(sample)
        results, cropped = dict(info), False
        with seeded(0, 'doctor', zlib.crc32(sample.image.encode())):
            for kind, is_label, transform in zip(self.kinds, self.loads_label, self.transforms):
                cropped = cropped or 'Crop' in kind
                try:
                    results = transform(results)
                except Exception as error:  # any error of a transform is a finding
                    sample.error = (kind, str(error) or type(error).__name__)
                    sample.unreadable = isinstance(error, OSError)
                    return sample
                if not isinstance(results, dict):
                    sample.error = (kind, 'it returned None: the sample is dropped')
                    return sample
                self._record(sample, is_label, cropped, results)
        return sample

    def _record(self, sample: Sample, is_label: bool, cropped: bool, results: dict) -> None:
        if 'inputs' in results:
            sample.packed = tuple(results)
            sample.final = tuple(results['inputs'].shape[-2:]) if hasattr(results['inputs'], 'shape') else None
            return
        image = results.get('img')
        if image is not None and sample.loaded is None:
            sample.loaded = image.shape[:2]
            pixels = image[::4, ::4].reshape(-1, image.shape[2] if image.ndim == 3 else 1).astype(np.float64)
            sample.mean, sample.std = tuple(pixels.mean(0).tolist()), tuple(pixels.std(0).tolist())
        if image is not None and not cropped:
            sample.resized = image.shape[:2]
            sample.label_resized = np.shape(results['gt_seg_map'])[:2] if 'gt_seg_map' in results else None
        if is_label and 'gt_seg_map' in results:
            self._record_label(sample, np.asarray(results['gt_seg_map']))
            if sample.counts is not None:  # CropWithClass requires it
                results.setdefault('wanted_class', int(sample.counts[:IGNORE].argmax()))
        sample.crop_box = results.get('crop_box', sample.crop_box)

    def _record_label(self, sample: Sample, label: np.ndarray) -> None:
        sample.label_shape = label.shape
        if label.ndim != 2 or not np.issubdtype(label.dtype, np.integer):
            return
        if label.dtype == np.uint8:  # counting is much faster than sorting
            counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
            values = np.flatnonzero(counts)
            counts = counts[values]
        else:
            values, counts = np.unique(label, return_counts=True)
        inside = (values >= 0) & (values <= IGNORE)
        sample.counts = np.zeros(IGNORE + 1, np.int64)
        sample.counts[values[inside]] = counts[inside]
        if self.num_classes is not None:
            sample.outside = tuple(int(v) for v in values if not 0 <= v < self.num_classes and v != IGNORE)


def _read_format(sample: Sample) -> None:
    """The file's own format, which loading hides: every image becomes 8-bit BGR."""
    try:
        with Image.open(sample.image) as file:
            sample.mode = file.mode
            sample.rotated = file.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass  # reported by the pipeline
