"""What stands where: a random street as a list of things, with no word about how they look.

A scene is drawn from a NumPy generator and a `Layout`, the statistics of one data set. Colours are
not chosen here: every thing carries three uniform numbers (`tones`) and a seed, from which a style
derives them.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .camera import Camera


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
        train=0.14, bus=0.17, truck=0.17, motorcycle=0.25, bicycle=0.4, light=0.35, sign=0.75,
        wall=0.5, fence=0.5))


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
    ridden: bool = False  # bicycles and motorcycles: somebody rides it

    @property
    def near(self) -> float:
        """The z of its nearest end."""
        return self.z - (self.length * abs(np.cos(self.heading))
                         + self.width * abs(np.sin(self.heading))) / 2


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
class Scene:
    """A whole street. `rows` are ordered from far to near, and so are `things`."""

    camera: Camera
    sides: tuple[Side, Side]  # left, right
    lanes: tuple[float, ...]  # x of the lanes' centres; the own lane is at 0
    junction: float | None  # z of a crossing street, 9 m wide
    rail: float | None  # x of the tram's track
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
        return (flat * float(np.sin(azimuth)), float(np.sin(elevation)),
                -flat * float(np.cos(azimuth)))


JUNCTION_WIDTH = 9.
LANE_WIDTH = 3.


def sample_scene(rng: np.random.Generator, layout: Layout) -> Scene:
    """Draw one street."""
    from .rows import sample_rows  # these modules need the classes above
    from .street import sample_things
    camera = Camera(
        height=rng.uniform(*layout.camera_height), x=rng.uniform(-0.5, 0.5),
        focal=rng.uniform(*layout.focal), pitch=rng.uniform(*layout.pitch),
        yaw=rng.uniform(-layout.yaw, layout.yaw), aspect=layout.aspect)
    count = int(rng.integers(layout.lanes[0], layout.lanes[1] + 1))
    left = count // 2
    lanes = tuple(LANE_WIDTH * (i - left) for i in range(count))
    shoulder = rng.uniform(0.2, 2.2, 2)  # room for parked cars
    kerbs = lanes[0] - LANE_WIDTH / 2 - shoulder[0], lanes[-1] + LANE_WIDTH / 2 + shoulder[1]
    sides = tuple(
        Side(sign, kerb, rng.uniform(*layout.sidewalk),
             rng.uniform(1.5, 6.) if rng.random() < layout.terrain else 0.)
        for sign, kerb in zip((-1, 1), kerbs))
    junction = rng.uniform(16, 45) if rng.random() < 0.35 else None
    train = rng.random() < layout.chances['train']
    rail = (min(lanes[0], -LANE_WIDTH) if train or rng.random() < 0.05 else None)
    sun = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1)
    rows = sample_rows(rng, layout, sides, junction)
    things = sample_things(rng, layout, sides, lanes, junction, rail if train else None)
    things = sorted(things, key=lambda t: -(t.near + 0.5 * abs(t.x - camera.x)))
    return Scene(camera, sides, lanes, junction, rail, tuple(rows), tuple(things), sun,
                 int(rng.integers(2 ** 31)), bool(rng.random() < layout.hood))
