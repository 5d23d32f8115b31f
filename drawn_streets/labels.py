"""Class ids of the miniature benchmark: Cityscapes' raw ids, its palette, and SYNTHIA's ids."""

import numpy as np

# Raw Cityscapes ids. Everything is drawn in these; the writer translates for SYNTHIA.
EGO, STATIC = 1, 4
ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE = 7, 8, 11, 12, 13, 17
LIGHT, SIGN, VEGETATION, TERRAIN, SKY = 19, 20, 21, 22, 23
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 24, 25, 26, 27, 28, 31, 32, 33

# SYNTHIA's own ids by raw Cityscapes id; what is missing here is written as SYNTHIA's void, 0.
SYNTHIA_IDS = {SKY: 1, BUILDING: 2, ROAD: 3, SIDEWALK: 4, FENCE: 5, VEGETATION: 6, POLE: 7,
               CAR: 8, SIGN: 9, PERSON: 10, BICYCLE: 11, MOTORCYCLE: 12, LIGHT: 15, RIDER: 17,
               BUS: 19, WALL: 21}

_COLOURS = {
    5: (111, 74, 0), 6: (81, 0, 81), ROAD: (128, 64, 128), SIDEWALK: (244, 35, 232),
    9: (250, 170, 160), 10: (230, 150, 140), BUILDING: (70, 70, 70), WALL: (102, 102, 156),
    FENCE: (190, 153, 153), 14: (180, 165, 180), 15: (150, 100, 100), 16: (150, 120, 90),
    POLE: (153, 153, 153), 18: (153, 153, 153), LIGHT: (250, 170, 30), SIGN: (220, 220, 0),
    VEGETATION: (107, 142, 35), TERRAIN: (152, 251, 152), SKY: (70, 130, 180),
    PERSON: (220, 20, 60), RIDER: (255, 0, 0), CAR: (0, 0, 142), TRUCK: (0, 0, 70),
    BUS: (0, 60, 100), 29: (0, 0, 90), 30: (0, 0, 110), TRAIN: (0, 80, 100),
    MOTORCYCLE: (0, 0, 230), BICYCLE: (119, 11, 32)}


def palette() -> np.ndarray:
    """Cityscapes' colours by raw id: (256, 3) uint8 RGB, black for void."""
    table = np.zeros((256, 3), np.uint8)
    table[list(_COLOURS)] = list(_COLOURS.values())
    return table


def to_synthia() -> np.ndarray:
    """SYNTHIA's id by raw Cityscapes id: (256,) uint16, 0 = void."""
    table = np.zeros(256, np.uint16)
    table[list(SYNTHIA_IDS)] = list(SYNTHIA_IDS.values())
    return table
