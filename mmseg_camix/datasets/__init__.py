"""Datasets, their transforms, and the pairing of source and target."""

from . import transforms
from .camvid import CamVidDataset
from .encodings import CLASSES, PALETTE, SYNTHIA_13, SYNTHIA_16
from .families import ACDCDataset, GTADataset, RawCityscapesDataset, RawDarkZurichDataset, SYNTHIADataset
from .folders import FolderDataset
from .long_tail import LongTailDataset
from .paired import PairedDataset, PairedSampler, Position, SampleError, branch_collate
from .rare_class import RareClassDataset

__all__ = ['CLASSES', 'PALETTE', 'SYNTHIA_13', 'SYNTHIA_16', 'ACDCDataset', 'CamVidDataset', 'FolderDataset',
           'GTADataset', 'LongTailDataset', 'PairedDataset', 'PairedSampler', 'Position', 'RareClassDataset',
           'RawCityscapesDataset', 'RawDarkZurichDataset', 'SYNTHIADataset', 'SampleError', 'branch_collate',
           'transforms']
