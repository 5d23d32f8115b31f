"""Crops that record their place in the image, which spatial priors need, and the size of evaluation."""

import logging
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import TRANSFORMS

MIN_COVERED = 0.5  # share of a crop that the image must fill


@TRANSFORMS.register_module()
class RecordedRandomCrop(RandomCrop):
    """mmseg's `RandomCrop`, which also records the place of the crop.

    Added keys:
        crop_box: (x1, y1, x2, y2) int, in the resized image **before any flip**, whichever comes first, flip or crop:
            a map of the resized image is looked up as `map[y1:y2, x1:x2]`, then flipped if `flip` is set.
        resized_shape: (height, width) of the image from which the crop was taken.

    Args:
        crop_size: (height, width), or one number for a square.
        cat_max_ratio: draw again, up to ten times, while one class covers more than this share;
            needs labels if below 1.
        ignore_index: label of ignored pixels.
    """

    def __init__(self, crop_size: int | Sequence[int], cat_max_ratio: float = 1.0, ignore_index: int = 255) -> None:
        # JSON and YAML configs have lists where mmseg insists on tuples.
        size = crop_size if isinstance(crop_size, int) else tuple(crop_size)
        super().__init__(crop_size=size, cat_max_ratio=cat_max_ratio, ignore_index=ignore_index)
        self._warned = False

    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Draw (y1, y2, x1, x2) and record it."""
        if self.cat_max_ratio < 1.0 and 'gt_seg_map' not in results:
            raise ValueError(f'RecordedRandomCrop(cat_max_ratio={self.cat_max_ratio}) needs labels, but '
                             f'{results.get("img_path")} has none; use cat_max_ratio=1 for unlabelled images, or load '
                             'labels before')
        if 'crop_box' in results:
            raise ValueError(f'{results.get("img_path")} is cropped twice; only one crop_box can be recorded: use one '
                             'RecordedRandomCrop per pipeline')
        height, width = results['img'].shape[:2]
        label = results.get('gt_seg_map')
        if label is not None and label.shape[:2] != (height, width):
            raise ValueError(f'{results.get("img_path")}: the image is {width}x{height} where it is cropped, but its '
                             f'label is {label.shape[1]}x{label.shape[0]}; load labels before the image is resized')
        self._check_padding(height, width, results)
        y1, y2, x1, x2 = self.draw_box(results)
        y2, x2 = min(y2, height), min(x2, width)  # mmseg's box extends beyond a smaller image
        results['resized_shape'] = (height, width)
        results['crop_box'] = _before_flip((x1, y1, x2, y2), results)
        return y1, y2, x1, x2

    def _check_padding(self, height: int, width: int, results: dict) -> None:
        """Refuse crops that would be mostly padding; warn once of crops that are partly."""
        covered = min(1, height / self.crop_size[0]) * min(1, width / self.crop_size[1])
        if covered == 1:
            return
        message = (f'{results.get("img_path")}: the image is {width}x{height} where it is cropped to '
                   f'{self.crop_size[1]}x{self.crop_size[0]}, {1 - covered:.0%} of the crop would be padding; choose a '
                   'smaller crop_size, or resize the images to at least its size')
        if covered < MIN_COVERED:
            raise ValueError(message)
        if not self._warned:
            self._warned = True
            print_log(message, 'current', logging.WARNING)

    def draw_box(self, results: dict) -> tuple[int, int, int, int]:
        """Draw (y1, y2, x1, x2), which may extend beyond a smaller image.

        The draws and the choice are mmseg's; only the counting is faster.
        """
        box = self._random_box(results['img'].shape)
        if self.cat_max_ratio < 1.0:
            for _ in range(10):
                if self._is_varied(self.crop(results['gt_seg_map'], box)):
                    break
                box = self._random_box(results['img'].shape)
        return box

    def _random_box(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        y, x = (np.random.randint(0, max(size - crop, 0) + 1)  # noqa: NPY002 (seeded by PairedDataset)
                for size, crop in zip(shape, self.crop_size))
        return y, y + self.crop_size[0], x, x + self.crop_size[1]

    def _is_varied(self, label: np.ndarray) -> bool:
        """Whether a label has at least two classes, none of which exceeds `cat_max_ratio`."""
        counts = np.bincount(label.ravel(), minlength=self.ignore_index + 1)
        counts[self.ignore_index] = 0
        return np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < self.cat_max_ratio


@TRANSFORMS.register_module()
class CropWithClass(RecordedRandomCrop):
    """A random crop that contains a wanted class, for images that were chosen for that class.

    Crops are drawn until one has enough pixels of the class. If none of `tries` crops has, the best of them is taken;
    if none has a single pixel, a crop around a random pixel of the class. The class is missing only where resizing
    has removed it from the image.

    Required keys: wanted_class (int, a train id), gt_seg_map. Added keys: as `RecordedRandomCrop`.

    Args:
        crop_size: (height, width), or one number for a square.
        min_pixels: least number of pixels of the class.
        tries: largest number of crops drawn.
    """

    def __init__(self, crop_size: int | Sequence[int], min_pixels: int = 1, tries: int = 10) -> None:
        super().__init__(crop_size)
        if min_pixels < 1 or tries < 1:
            raise ValueError(f'CropWithClass: min_pixels={min_pixels} and tries={tries} must be at least 1')
        self.min_pixels, self.tries = min_pixels, tries

    def draw_box(self, results: dict) -> tuple[int, int, int, int]:
        """Draw the first crop with enough pixels of the class, or else the best."""
        if missing := [key for key in ('wanted_class', 'gt_seg_map') if key not in results]:
            raise KeyError(f'{results.get("img_path")}: CropWithClass needs {" and ".join(missing)}; load labels '
                           'before it, and use it within a dataset that chooses classes, such as LongTailDataset')
        wanted = results['gt_seg_map'] == results['wanted_class']
        best, most = None, -1
        for _ in range(self.tries):
            y1, y2, x1, x2 = box = super().draw_box(results)
            pixels = np.count_nonzero(wanted[y1:y2, x1:x2])
            if pixels > most:
                best, most = box, pixels
            if pixels >= self.min_pixels:
                break
        return best if most > 0 else self._around_a_pixel(wanted, best)

    @staticmethod
    def _around_a_pixel(wanted: np.ndarray, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """A box of the same size around a random pixel of the class; the same box if there is none."""
        places = np.argwhere(wanted)
        if not len(places):
            return box
        y, x = places[np.random.randint(len(places))]  # noqa: NPY002 (seeded by PairedDataset)
        (y1, y2), (x1, x2) = (_span_around(place, box[i + 1] - box[i], wanted.shape[i // 2])
                              for i, place in ((0, y), (2, x)))
        return y1, y2, x1, x2


def _span_around(place: int, length: int, size: int) -> tuple[int, int]:
    """A random span of `length` within [0, size) that contains a place; all are equally likely."""
    first, last = max(0, place - length + 1), min(place, max(size - length, 0))
    start = np.random.randint(first, last + 1)  # noqa: NPY002
    return int(start), int(start) + length


def _before_flip(box: tuple[int, int, int, int], results: dict) -> tuple[int, int, int, int]:
    """The same box in the image as it was before an earlier flip."""
    x1, y1, x2, y2 = box
    height, width = results['resized_shape']
    direction = results.get('flip_direction') if results.get('flip') else None
    if direction in ('horizontal', 'diagonal'):
        x1, x2 = width - x2, width - x1
    if direction in ('vertical', 'diagonal'):
        y1, y2 = height - y2, height - y1
    return x1, y1, x2, y2


@TRANSFORMS.register_module()
class EvaluateAtResizedShape(BaseTransform):
    """Evaluate predictions at the size of the resized image.

    mmseg resizes predictions back to the original shape and compares them there. The methods of
    this project were published with image and ground truth both resized to 1024x512: put this after
    `LoadIdLabels` and `Resize`.

    Modified keys: ori_shape.
    """

    def transform(self, results: dict) -> dict:
        results['ori_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
