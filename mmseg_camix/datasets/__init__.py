"""Datasets, their transforms, and the pairing of source and target."""

from . import transforms
from .acdc import ACDCDataset
from .cityscapes import RawCityscapesDataset
from .collate import branch_collate
from .dark_zurich import RawDarkZurichDataset
from .encodings import CLASSES, PALETTE, SYNTHIA_13, SYNTHIA_16
from .folders import FolderDataset
from .gta import GTADataset
from .long_tail import LongTailDataset
from .paired import PairedDataset, PairedSampler, Position, SampleError
from .rare_class import RareClassDataset
from .synthia import SYNTHIADataset

__all__ = [
    'CLASSES',
    'PALETTE',
    'SYNTHIA_13',
    'SYNTHIA_16',
    'ACDCDataset',
    'FolderDataset',
    'GTADataset',
    'LongTailDataset',
    'PairedDataset',
    'PairedSampler',
    'Position',
    'RareClassDataset',
    'RawCityscapesDataset',
    'RawDarkZurichDataset',
    'SYNTHIADataset',
    'SampleError',
    'branch_collate',
    'transforms',
]
