"""Pack a sample for the model."""

from collections.abc import Sequence

from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

# mmseg's keys, then those of this project.
META_KEYS: tuple[str, ...] = (
    'img_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'reduce_zero_label',
    'sample_idx',
    'crop_box',
    'resized_shape',
)


@TRANSFORMS.register_module()
class PackUDAInputs(PackSegInputs):
    """mmseg's `PackSegInputs` with the sample's index and geometry in its metainfo.

    Every packed sample has `flip` (bool) and `flip_direction`, also if the pipeline has no flip.

    Args:
        meta_keys: keys that are copied from the pipeline's results into the metainfo, where they exist.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        results.setdefault('flip', False)
        results.setdefault('flip_direction', None)
        return super().transform(results)
