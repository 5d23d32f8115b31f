"""A street as data: a camera and a list of things with their places and sizes.

Colours are not part of it: each thing has three uniform numbers (`tones`) and a seed, from which a style derives them.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .camera import Camera

JUNCTION_WIDTH, LANE_WIDTH = 9., 3.  # metres


@dataclass(frozen=True)
class Layout:
    """How a data set's streets are built: ranges (low, high) in metres and chances per image."""

    aspect: float = 2.  # width / height of the pictures
    camera_height: tuple[float, float] = (1.3, 1.6)
    pitch: tuple[float, float] = (-0.02, 0.05)  # radians, positive looks down
    yaw: float = 0.06  # radians to either side
    focal: tuple[float, float] = (1.2, 1.4)  # in image heights
    lanes: tuple[int, int] = (2, 3)
    sidewalk: tuple[float, float] = (2.5, 5.)
    terrain: float = 0.5  # chance of a strip of grass, per side
    storeys: tuple[int, int] = (2, 7)
    traffic: float = 0.3  # chance that a free place of a lane is taken by a car
    walkers: tuple[int, int] = (2, 8)
    hood: float = 0.  # chance that the ego vehicle's hood is in the picture
    chances: dict[str, float] = field(default_factory=lambda: dict(
        train=0.14, bus=0.17, truck=0.17, motorcycle=0.25, bicycle=0.4, light=0.35, sign=0.75, wall=0.5, fence=0.5))


@dataclass(frozen=True)
class Thing:
    """One object: a box on the ground, centred at (x, z)."""

    kind: str
    x: float
    z: float
    width: float = 0.5  # across its heading
    height: float = 1.
    length: float = 0.5  # along its heading
    heading: float = 0.  # radians; 0 looks along the street, positive turns to the right
    tones: tuple[float, float, float] = (0.5, 0.5, 0.5)
    seed: int = 0
    ridden: bool = False  # a bicycle or motorcycle with its rider

    @property
    def near(self) -> float:
        """The z of its nearest end."""
        return self.z - (self.length * abs(np.cos(self.heading)) + self.width * abs(np.sin(self.heading))) / 2


@dataclass(frozen=True)
class Side:
    """One side of the street, from the kerb outwards; `sign` is -1 on the left, 1 on the right."""

    sign: int
    kerb: float  # x of the kerb
    sidewalk: float  # width
    terrain: float  # width of the grass behind the sidewalk, 0 for none

    @property
    def front(self) -> float:
        """x where the buildings begin."""
        return self.kerb + self.sign * (self.sidewalk + self.terrain)


@dataclass(frozen=True)
class Road:
    """The street itself."""

    sides: tuple[Side, Side]  # left, right
    lanes: tuple[float, ...]  # x of the lanes' centres; the own lane is at 0
    junction: float | None  # z of a crossing street, 9 m wide
    rail: float | None  # x of the tram's track

    def crosses(self, z: float, length: float) -> bool:
        """Whether something from z on, of this length, would stand in the crossing street."""
        return self.junction is not None and z < self.junction + JUNCTION_WIDTH + 3 and z + length > self.junction - 3


@dataclass(frozen=True)
class Scene:
    """A street with all things, each of `rows` and `things` ordered from far to near."""

    camera: Camera
    road: Road
    rows: tuple[Thing, ...]  # buildings, walls, fences, hedges, trees behind the sidewalks
    things: tuple[Thing, ...]  # everything on road and sidewalk
    sun: tuple[float, float]  # azimuth and elevation in radians
    seed: int  # for clouds, skyline, blotches of grass
    hood: bool

    @cached_property
    def to_sun(self) -> tuple[float, float, float]:
        """The direction of the sun."""
        azimuth, elevation = self.sun
        flat = float(np.cos(elevation))
        return (flat * float(np.sin(azimuth)), float(np.sin(elevation)), -flat * float(np.cos(azimuth)))
