"""One sample, opened as the training would open it, and what can be seen of it on the way."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmcv.transforms import Compose
from PIL import Image, UnidentifiedImageError

from ..datasets.seeding import seeded
from ..type_names import loads_label, type_name

IGNORE = 255
UPRIGHT = 1  # value of EXIF's orientation
ORIENTATION = 0x0112


@dataclass
class Seen:
    """What one sample showed; sizes are (height, width).

    Args:
        image, label: paths; label is '' without one.
        mode: Pillow's mode of the image file ('RGB', 'L', 'RGBA', 'I;16', ...), '' if it cannot be opened.
        turned: whether EXIF turns the image when it is loaded.
        loaded, resized, final: size after loading, before cropping, and as the network gets it.
        label_shape: as the file is loaded.
        counts: (256,) pixels of each label, as loaded; None without.
        outside: labels that are neither a class nor ignored, if whole numbers are at hand.
        mean, std: of the loaded image's channels, BGR.
        packed: keys of the pipeline's result.
        crop_box: (x1, y1, x2, y2) of RecordedRandomCrop, if there is one.
        error: (transform, message) where the pipeline failed.
    """

    image: str
    label: str = ''
    mode: str = ''
    turned: bool = False
    loaded: tuple[int, int] | None = None
    resized: tuple[int, int] | None = None
    final: tuple[int, int] | None = None
    label_shape: tuple[int, ...] | None = None
    counts: np.ndarray | None = None
    outside: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    packed: tuple[str, ...] = ()
    crop_box: tuple[int, int, int, int] | None = None
    error: tuple[str, str] | None = None


class Examiner:
    """Runs a pipeline step by step on one description of a sample.

    Args:
        pipeline: configs of the transforms.
        num_classes: of the dataset; None if it names none.
    """

    def __init__(self, pipeline: Sequence[dict], num_classes: int | None) -> None:
        self.kinds = [type_name(t) for t in pipeline]
        self.loads_label = [loads_label(t) for t in pipeline]
        self.transforms = Compose(list(pipeline)).transforms
        self.num_classes = num_classes

    def __call__(self, info: dict) -> Seen:
        seen = Seen(info.get('img_path', ''), info.get('seg_map_path') or '' if any(self.loads_label) else '')
        _look_at_file(seen)
        results = dict(info)
        with seeded(0, 'doctor', zlib.crc32(seen.image.encode())):
            for kind, is_label, transform in zip(self.kinds, self.loads_label, self.transforms):
                try:
                    results = transform(results)
                except Exception as error:  # whatever a transform raises is a finding
                    seen.error = (kind, str(error) or type(error).__name__)
                    return seen
                if not isinstance(results, dict):
                    seen.error = (kind, 'it returned None: the sample is dropped')
                    return seen
                self._note(seen, kind, is_label, results)
        return seen

    def _note(self, seen: Seen, kind: str, is_label: bool, results: dict) -> None:
        """Keep what a transform has shown."""
        if 'inputs' in results:
            seen.packed = tuple(results)
            seen.final = tuple(results['inputs'].shape[-2:]) if hasattr(results['inputs'], 'shape') else None
            return
        image = results.get('img')
        if image is not None and seen.loaded is None:
            seen.loaded = image.shape[:2]
            small = image[::4, ::4].reshape(-1, image.shape[2] if image.ndim == 3 else 1).astype(np.float64)
            seen.mean, seen.std = tuple(small.mean(0).tolist()), tuple(small.std(0).tolist())
        if image is not None and 'Crop' not in kind and 'crop_box' not in results:
            seen.resized = image.shape[:2]
        if is_label and 'gt_seg_map' in results:
            self._note_label(seen, np.asarray(results['gt_seg_map']))
            if seen.counts is not None:  # what CropWithClass asks for within a dataset that chooses classes
                results.setdefault('wanted_class', int(seen.counts[:IGNORE].argmax()))
        seen.crop_box = results.get('crop_box', seen.crop_box)

    def _note_label(self, seen: Seen, label: np.ndarray) -> None:
        seen.label_shape = label.shape
        if label.ndim != 2 or not np.issubdtype(label.dtype, np.integer):
            return
        if label.dtype == np.uint8:  # counting is far quicker than sorting
            counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
            values = np.flatnonzero(counts)
            counts = counts[values]
        else:
            values, counts = np.unique(label, return_counts=True)
        inside = (values >= 0) & (values <= IGNORE)
        seen.counts = np.zeros(IGNORE + 1, np.int64)
        seen.counts[values[inside]] = counts[inside]
        if self.num_classes is not None:
            seen.outside = tuple(int(v) for v in values if not 0 <= v < self.num_classes and v != IGNORE)


def _look_at_file(seen: Seen) -> None:
    """The image file's own format, which loading hides: everything becomes 8-bit BGR."""
    try:
        with Image.open(seen.image) as file:
            seen.mode = file.mode
            seen.turned = file.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError):
        pass  # the pipeline will say what is wrong, or read it by other means
