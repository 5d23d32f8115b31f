"""Record where a sample lies in its image, for what is looked up by position: spatial priors."""

from collections.abc import Sequence

from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RecordedRandomCrop(RandomCrop):
    """mmseg's `RandomCrop`, which also records the place of the crop.

    Added keys:
        crop_box: (x1, y1, x2, y2) int, in the resized image **before any flip**, whichever comes
            first, flip or crop. So a map of the resized image is looked up as `map[y1:y2, x1:x2]`,
            then flipped if `flip` says so.
        resized_shape: (height, width) of the image from which the crop was taken.

    Args:
        crop_size: (height, width), or one number for a square.
        cat_max_ratio: draw again, up to ten times, while one class covers more than this share;
            needs labels if below 1.
        ignore_index: label that does not count as a class.
    """

    def __init__(self, crop_size: int | Sequence[int], cat_max_ratio: float = 1.0, ignore_index: int = 255) -> None:
        # JSON and YAML configs have lists where mmseg insists on tuples.
        size = crop_size if isinstance(crop_size, int) else tuple(crop_size)
        super().__init__(crop_size=size, cat_max_ratio=cat_max_ratio, ignore_index=ignore_index)

    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Draw (y1, y2, x1, x2) and record it."""
        if self.cat_max_ratio < 1.0 and 'gt_seg_map' not in results:
            raise ValueError(
                f'RecordedRandomCrop(cat_max_ratio={self.cat_max_ratio}) needs labels, but '
                f'{results.get("img_path")} has none; use cat_max_ratio=1 for unlabelled images, '
                'or load labels before'
            )
        if 'crop_box' in results:
            raise ValueError(
                f'{results.get("img_path")} is cropped twice; only one crop_box can be recorded: '
                'use one RecordedRandomCrop per pipeline'
            )
        y1, y2, x1, x2 = super().crop_bbox(results)
        height, width = results['img'].shape[:2]
        y2, x2 = min(y2, height), min(x2, width)  # mmseg's box passes the border of a smaller image
        results['resized_shape'] = (height, width)
        results['crop_box'] = _before_flip((x1, y1, x2, y2), results)
        return y1, y2, x1, x2


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
    """Let the resized image stand for the original one: predictions are compared at its size.

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
