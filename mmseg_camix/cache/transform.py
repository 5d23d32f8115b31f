"""Loading and resizing, done before."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..datasets.fixed_part import length_of_fixed_part
from ..type_names import type_name
from .building import sources_of
from .entries import CacheError, Entry, entry_path
from .recipe import RECIPE_FILE, Recipe

BUILD = 'python tools/dataset/build_cache.py CONFIG'


@TRANSFORMS.register_module()
class Cached(BaseTransform):
    """Stands for the transforms that load and resize; gives what they gave when the cache was made.

    The readers put it into their pipeline by their option `cache`. For other datasets make the cache
    by `datasets.cache.build_cache`, and let this transform replace those that load and resize.

    Required keys: img_path, and seg_map_path if the transforms load labels. Added keys: those of the
    transforms.

    Args:
        transforms: configs of the transforms that load and resize.
        root: the data root; images lie below it, and entries of the cache lie alike.
        folder: of all caches, below `root` unless absolute.
        lazy: give an image that is read when it is cropped; only where the next transform is a crop.
    """

    def __init__(self, transforms: Sequence[dict], root: str, folder: str = 'cache', lazy: bool = False) -> None:
        self.transforms, self.root, self.folder, self.lazy = list(transforms), root, folder, lazy
        if length_of_fixed_part(self.transforms) < len(self.transforms):
            raise ValueError(f'Cached: of {[type_name(t) for t in self.transforms]} not all only load and resize; '
                             'put what draws at random after Cached')
        self._place: Path | None = None

    def find_cache(self, info: dict) -> None:
        """Find the cache of this recipe, or say what there is instead.

        Args:
            info: description of any sample.
        """
        recipe, every = Recipe.of(self.transforms, info), Path(self.root, self.folder)
        if not (every / recipe.name / RECIPE_FILE).is_file():
            found = sorted(path.parent.name for path in every.glob('*/' + RECIPE_FILE))
            raise CacheError(
                f'{every / recipe.name}: there is no cache for {recipe.summary()} (there are: '
                f'{", ".join(found) or "none"}); make it by {BUILD}, or remove the option '
                '`cache`')
        self._place = every / recipe.name

    def originals(self) -> list[Callable]:
        """The transforms themselves, for those who want what lies between them."""
        return [TRANSFORMS.build(transform) for transform in self.transforms]

    def transform(self, results: dict) -> dict:
        if self._place is None:
            self.find_cache(results)
        entry = Entry(entry_path(self._place, results['img_path'], self.root))
        if not entry.is_current(sources_of(results, entry)):
            raise CacheError(f'{entry.path}: {results["img_path"]} or its label has changed since; make the cache '
                             f'again by {BUILD}')
        results['img'] = entry.image() if self.lazy else entry.whole_image()
        label = entry.label()
        if label is not None:
            results['gt_seg_map'] = label
            results.setdefault('seg_fields', []).append('gt_seg_map')
        results.update(entry.added())
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(transforms={self.transforms}, root={self.root!r}, folder={self.folder!r}, '
                f'lazy={self.lazy})')
