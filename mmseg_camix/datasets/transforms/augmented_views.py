"""Test-time augmentation: several views of an image, each to be predicted."""

import copy
import itertools
from collections.abc import Sequence

from mmcv.transforms import BaseTransform, Compose
from mmseg.registry import TRANSFORMS

from ...type_names import loads_label, type_name


@TRANSFORMS.register_module()
class AugmentedViews(BaseTransform):
    """A test pipeline that yields an image at several scales, and mirrored.

    Its item is ``dict(inputs=[view, ...], data_samples=[sample, ...])``, as mmcv's `TestTimeAug` has
    it, for :class:`~mmseg_camix.models.AveragedViews`. Every view is resized from the loaded image, so that a scale
    above 1 adds detail. The label and the size of evaluation are those of the pipeline without augmentation.

    Args:
        transforms: the test pipeline without augmentation, from loading to packing.
        scales: factors on the size of its `Resize` (or on the image's, without `Resize`).
        flip: whether to add each scale mirrored.
    """

    def __init__(self, transforms: Sequence[dict], scales: Sequence[float] = (1.0,), flip: bool = True) -> None:
        if not scales or any(scale <= 0 for scale in scales):
            raise ValueError(f'AugmentedViews: scales={list(scales)} must be one or more numbers above 0')
        plain = [dict(transform) for transform in transforms]
        self.plain = Compose(plain)
        flips = (False, True) if flip else (False,)
        self.views = [Compose(_view(plain, scale, mirrored)) for scale, mirrored in itertools.product(scales, flips)]
        self.scales, self.flip = tuple(scales), flip

    def transform(self, results: dict) -> dict:
        """Return all views of one sample; the first has the label."""
        reference = self.plain(copy.deepcopy(results))['data_samples']
        packed = [view(copy.deepcopy(results)) for view in self.views]
        for item in packed:
            item['data_samples'].set_metainfo(dict(ori_shape=reference.ori_shape))
        if 'gt_sem_seg' in reference:
            packed[0]['data_samples'].gt_sem_seg = reference.gt_sem_seg
        return {key: [item[key] for item in packed] for key in ('inputs', 'data_samples')}

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scales={self.scales}, flip={self.flip})'


def _view(plain: list[dict], scale: float, mirrored: bool) -> list[dict]:
    """The pipeline of one view: at its scale, mirrored or not, without label."""
    kept = [t for t in plain if not loads_label(t) and type_name(t) != 'EvaluateAtResizedShape']
    resizes = [_scaled(t, scale) if type_name(t) == 'Resize' else t for t in kept]
    added = [dict(type='RandomFlip', prob=1.0, direction='horizontal')] if mirrored else []
    if scale != 1 and resizes == kept:
        added.insert(0, dict(type='Resize', scale_factor=scale, keep_ratio=True))
    return [*resizes[:-1], *added, resizes[-1]]  # before packing


def _scaled(resize: dict, factor: float) -> dict:
    if resize.get('scale') is None:
        factors = resize.get('scale_factor', 1.0)
        scaled = tuple(part * factor for part in factors) if isinstance(factors, (list, tuple)) else factors * factor
        return dict(resize, scale_factor=scaled)
    scale = resize['scale']
    sides = (scale, scale) if isinstance(scale, int) else scale
    return dict(resize, scale=tuple(max(1, round(side * factor)) for side in sides))
