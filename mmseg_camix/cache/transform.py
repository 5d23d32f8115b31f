"""The transform that reads the cache."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..datasets.fixed_part import length_of_fixed_part
from ..type_names import type_name
from .entries import CacheError, Entry, entry_path
from .recipe import RECIPE_FILE, Recipe

BUILD = 'mmseg-camix cache CONFIG'


@TRANSFORMS.register_module()
class Cached(BaseTransform):
    """Replaces the transforms that load and resize; reads their results from the cache.

    The readers put it into their pipeline by their option `cache`. For other datasets build the cache by
    `mmseg_camix.cache.build_cache`, and replace the transforms that load and resize by this one.

    Required keys: img_path, and seg_map_path if the transforms load labels. Added keys: those of the transforms.

    Args:
        transforms: configs of the transforms that load and resize.
        root: the data root; images lie below it, and entries of the cache lie alike.
        folder: of all caches, below `root` unless absolute.
        lazy: return an image that is read when it is cropped; only where the next transform is a crop.
    """

    def __init__(self, transforms: Sequence[dict], root: str, folder: str = 'cache', lazy: bool = False) -> None:
        self.transforms, self.root, self.folder, self.lazy = list(transforms), root, folder, lazy
        if length_of_fixed_part(self.transforms) < len(self.transforms):
            raise ValueError(f'Cached: {[type_name(t) for t in self.transforms]} must only load and resize; put random '
                             'transforms after Cached')
        self._cache_folder: Path | None = None

    def find_cache(self, info: dict) -> None:
        """Find the cache of this recipe; the error lists the existing ones.

        Args:
            info: description of any sample.
        """
        recipe, caches = Recipe.of(self.transforms, info), Path(self.root, self.folder)
        folder = caches / recipe.name
        if not (folder / RECIPE_FILE).is_file():
            names = ', '.join(sorted(path.parent.name for path in caches.glob('*/' + RECIPE_FILE))) or 'none'
            raise CacheError(f'{folder}: there is no cache for {recipe.summary()} (there are: {names}); build it by '
                             f'{BUILD}, or remove the option `cache`')
        self._cache_folder = folder

    def originals(self) -> list[Callable]:
        """The replaced transforms, for intermediate results."""
        return [TRANSFORMS.build(transform) for transform in self.transforms]

    def transform(self, results: dict) -> dict:
        if self._cache_folder is None:
            self.find_cache(results)
        entry = Entry(entry_path(self._cache_folder, results['img_path'], self.root))
        if not entry.is_current(results):
            raise CacheError(f'{entry.path}: {results["img_path"]} or its label has changed since; update the cache by '
                             f'{BUILD}')
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
