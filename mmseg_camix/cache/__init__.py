"""Images and labels that were loaded and resized before, without loss, of which a crop is read by itself."""

from .building import BuildReport, build_cache, verify_cache
from .entries import CacheError, Entry, pack_entry
from .recipe import Recipe
from .tiles import TiledArray, compress_tiles
from .transform import Cached

__all__ = ['BuildReport', 'CacheError', 'Cached', 'Entry', 'Recipe', 'TiledArray', 'build_cache', 'compress_tiles',
           'pack_entry', 'verify_cache']
