"""Which number stands for which class in the label files of each dataset family.

All families but CamVid are trained on the 19 evaluation classes of Cityscapes ("train ids" 0 to 18, 255 = ignore).
Their files hold other numbers ("raw ids"); an `Encoding` maps them with one table lookup. Custom data have custom
classes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mmseg.datasets import CityscapesDataset

CLASSES: tuple[str, ...] = tuple(CityscapesDataset.METAINFO['classes'])
PALETTE: list[list[int]] = CityscapesDataset.METAINFO['palette']
IGNORE = 255
UNKNOWN = 254  # in lookup tables: a raw id that the family does not define; never a train id
CUSTOM = 'own'  # name of encodings with custom classes; part of the names of caches

# SYNTHIA-RAND-CITYSCAPES has no terrain, truck or train. The 13-class scores also leave out three classes that it
# draws too differently.
SYNTHIA_16: tuple[str, ...] = tuple(c for c in CLASSES if c not in ('terrain', 'truck', 'train'))
SYNTHIA_13: tuple[str, ...] = tuple(c for c in SYNTHIA_16 if c not in ('wall', 'fence', 'pole'))


@dataclass(frozen=True)
class Encoding:
    """How a family writes class ids into its label PNGs."""

    name: str  # of the family
    # class name -> raw id, or several. Valid raw ids that are not listed become 255
    raw_ids: Mapping[str, int | tuple[int, ...]]
    valid: tuple[int, ...]  # every raw id that an intact file may hold
    bits: int  # of a sample: 8 (one channel, grey or palette) or 16 (several channels, the class is in the first)
    description: str  # of such a file, for error messages
    classes: tuple[str, ...] = CLASSES  # what is learnt; the index is the train id
    remedy: str = 'choose the right `ids`, or repair the file'  # for files with other numbers
    sibling: str = ''  # encoding of the same family's files with other channels, for error messages
    colours: bool = False  # RGB, RGBA or palette files, whose raw ids are those of `colour_id`

    def __deepcopy__(self, memo: dict) -> 'Encoding':
        return self  # immutable; samples are copied with theirs, which takes 27 ms for 65536 valid ids

    @cached_property
    def table(self) -> np.ndarray:
        """(2**bits,) uint8: raw id -> train id, 255 = ignore, 254 = no such raw id."""
        table = np.full(2**self.bits, UNKNOWN, np.uint8)
        table[list(self.valid)] = IGNORE
        for class_name, raw in self.raw_ids.items():
            table[list(as_tuple(raw))] = self.classes.index(class_name)
        table.flags.writeable = False  # shared by all callers
        return table


def as_tuple(raw: int | Iterable[int]) -> tuple[int, ...]:
    """Raw ids of a class that has one or several."""
    return tuple(raw) if isinstance(raw, Iterable) and not isinstance(raw, str) else (raw,)


def colour_id(red: int, green: int, blue: int) -> int:
    """Raw id, 0 to 63, of a colour whose components are multiples of 64; also of arrays."""
    return red // 64 * 16 + green // 64 * 4 + blue // 64


# CamVid: the eleven classes of the SegNet tutorial, and the colours of Cambridge's 32 that each consists of.
CAMVID_COLOURS: dict[str, dict[str, tuple[int, int, int]]] = {
    'sky': dict(sky=(128, 128, 128)),
    'building': dict(building=(128, 0, 0), archway=(192, 0, 128), bridge=(0, 128, 64), tunnel=(64, 0, 64),
                     wall=(64, 192, 0)),
    'pole': dict(column_pole=(192, 192, 128), traffic_cone=(0, 0, 64)),
    'road': dict(road=(128, 64, 128), lane_drivable=(128, 0, 192), lane_non_drivable=(192, 0, 64)),
    'pavement': dict(sidewalk=(0, 0, 192), parking_block=(64, 192, 128), road_shoulder=(128, 128, 192)),
    'tree': dict(tree=(128, 128, 0), vegetation_misc=(192, 192, 0)),
    'sign': dict(sign_symbol=(192, 128, 128), misc_text=(128, 128, 64), traffic_light=(0, 64, 64)),
    'fence': dict(fence=(64, 64, 128)),
    'car': dict(car=(64, 0, 128), suv_pickup=(64, 128, 192), truck_bus=(192, 128, 192), train=(192, 64, 128),
                other_moving=(128, 64, 64)),
    'pedestrian': dict(pedestrian=(64, 64, 0), child=(192, 128, 64), cart_luggage_pram=(64, 0, 192),
                       animal=(64, 128, 64)),
    'bicyclist': dict(bicyclist=(0, 128, 192), motorcycle_scooter=(192, 0, 192)),
}
CAMVID_VOID = (0, 0, 0)
CAMVID_CLASSES: tuple[str, ...] = tuple(CAMVID_COLOURS)
_CAMVID_IDS = {name: tuple(colour_id(*rgb) for rgb in colours.values()) for name, colours in CAMVID_COLOURS.items()}

ENCODINGS: dict[str, Encoding] = {encoding.name: encoding for encoding in (
    Encoding(
        name='cityscapes',
        raw_ids=dict(zip(CLASSES, (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33))),
        valid=tuple(range(35)),  # GTA writes licence plates as 34
        bits=8,
        description='a single-channel 8-bit or palette PNG of raw Cityscapes ids 0 to 34'),
    Encoding(name='synthia', raw_ids=dict(zip(SYNTHIA_16, (3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11))),
             valid=tuple(range(23)), bits=16,
             description='a 16-bit PNG with SYNTHIA class ids 0 to 22 in its first channel (GT/LABELS)'),
    Encoding(name='train', raw_ids={name: index for index, name in enumerate(CLASSES)},
             valid=(*range(len(CLASSES)), IGNORE), bits=8,
             description='a single-channel 8-bit or palette PNG of train ids 0 to 18 and 255'),
    Encoding(name='camvid', raw_ids={name: index for index, name in enumerate(CAMVID_CLASSES)},
             valid=tuple(range(12)), bits=8, classes=CAMVID_CLASSES, sibling='camvid-colours',
             description='a single-channel 8-bit or palette PNG of CamVid indices 0 to 10, and 11 for void'),
    Encoding(name='camvid-colours', raw_ids=_CAMVID_IDS, bits=8, classes=CAMVID_CLASSES, sibling='camvid',
             valid=(*sum(_CAMVID_IDS.values(), ()), colour_id(*CAMVID_VOID)), colours=True,
             description="an RGB or palette PNG of CamVid's 32 colours"),
)}


def get_encoding(name: str | Encoding) -> Encoding:
    """Look up an encoding by name; an `Encoding` is returned as it is."""
    if isinstance(name, Encoding):
        return name
    if name not in ENCODINGS:
        raise ValueError(f'ids={name!r} is not a label encoding; available: {", ".join(ENCODINGS)}')
    return ENCODINGS[name]
