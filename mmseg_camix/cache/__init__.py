"""A lossless cache of loaded and resized images and labels, from which crops are read separately."""

from .building import BuildReport, build_cache, verify_cache
from .entries import CacheError, Entry, pack_entry
from .recipe import Recipe
from .tiles import TiledArray, compress_tiles
from .transform import Cached

__all__ = ['BuildReport', 'CacheError', 'Cached', 'Entry', 'Recipe', 'TiledArray', 'build_cache', 'compress_tiles',
           'pack_entry', 'verify_cache']
