"""Random streets: the road, then traffic, people and furniture on road and sidewalks."""

from dataclasses import dataclass, field

import numpy as np

from .camera import Camera
from .rows import chance, sample_rows, tones, tree
from .scene import LANE_WIDTH, Layout, Road, Scene, Side, Thing

# width, height and length in metres
SIZES = dict(car=(1.85, 1.5, 4.3), truck=(2.5, 3.5, 8.), bus=(2.6, 3.2, 11.5),
             train=(2.7, 3.6, 24.), motorcycle=(0.6, 1.15, 2.1), bicycle=(0.5, 1.05, 1.8))


@dataclass
class _Places:
    """Occupied stretches of the lanes."""

    taken: list[tuple[float, float, float]] = field(default_factory=list)  # x, z0, z1

    def take(self, x: float, z: float, length: float) -> bool:
        """Reserve the stretch around z; False if it overlaps an occupied one."""
        start, end = z - length / 2 - 1.5, z + length / 2 + 1.5
        if any(abs(x - other) < 2.3 and start < hi and end > lo for other, lo, hi in self.taken):
            return False
        self.taken.append((x, start, end))
        return True


def _things(rng: np.random.Generator, layout: Layout, road: Road, train: bool) -> list[Thing]:
    """Traffic, people and street furniture, in no particular order."""
    things = _traffic(rng, layout, road, train)
    for side in road.sides:
        things += _furniture(rng, layout, road, side)
    return things + _signals(rng, layout, road) + _walkers(rng, layout, road)


def _vehicle(rng: np.random.Generator, kind: str, x: float, z: float, heading: float, ridden: bool = False) -> Thing:
    width, height, length = SIZES[kind]
    scale = rng.uniform(0.93, 1.07)
    return Thing(kind, x, z, width * scale, height * scale, length * scale, heading, ridden=ridden, **tones(rng))


def _traffic(rng: np.random.Generator, layout: Layout, road: Road, train: bool) -> list[Thing]:
    """Everything on wheels; rare kinds are placed first."""
    things, places = [], _Places()
    if train:
        z = rng.uniform(9, 20) + SIZES['train'][2] / 2
        places.take(road.rail, z, SIZES['train'][2])
        things.append(_vehicle(rng, 'train', road.rail, z, float(rng.choice([0., np.pi]))))
    for kind in ('bus', 'truck'):
        if chance(rng, layout, kind):
            things += _heavy(rng, kind, road.lanes, places)
    for kind in ('motorcycle', 'bicycle'):
        if chance(rng, layout, kind):
            things += _bikes(rng, kind, road, places)
    if road.junction is not None and rng.random() < 0.5:
        z = road.junction + rng.uniform(2.5, 6)
        things.append(_vehicle(rng, 'car', rng.uniform(-9, 9), z, np.pi / 2))
    parked = [side.kerb - side.sign * 1.05 for side in road.sides]
    return things + _cars(rng, layout, (*road.lanes, *parked), places)


def _heading(x: float) -> float:
    """The heading of traffic that drives on the right."""
    return 0. if x > -1.6 else np.pi


def _heavy(rng: np.random.Generator, kind: str, lanes: tuple[float, ...], places: _Places) -> list[Thing]:
    """A bus or a truck, if there is room."""
    length = SIZES[kind][2]
    for _ in range(6):
        x = float(rng.choice(lanes)) + rng.uniform(-0.3, 0.3)
        z = rng.uniform(7, 22) + length / 2
        if (abs(x) > 1.5 or z - length / 2 > 8) and places.take(x, z, length):
            return [_vehicle(rng, kind, x, z, _heading(x))]
    return []


def _cars(rng: np.random.Generator, layout: Layout, lanes: tuple[float, ...], places: _Places) -> list[Thing]:
    things = []
    for x in lanes:
        for z in (np.arange(6., 60., 7.) + rng.uniform(0, 5)).tolist():
            ahead = abs(x) < 1.5 and z < 9  # it would fill the picture
            if not ahead and rng.random() < layout.traffic and places.take(x, z, SIZES['car'][2]):
                things.append(_vehicle(rng, 'car', x + rng.uniform(-.2, .2), z, _heading(x)))
    return things


def _bikes(rng: np.random.Generator, kind: str, road: Road, places: _Places) -> list[Thing]:
    """One to four bicycles or one to three motorcycles; about half of them with riders."""
    things = []
    for _ in range(int(rng.integers(1, 5 if kind == 'bicycle' else 4))):
        side = road.sides[int(rng.integers(2))]
        if rng.random() < 0.6:  # ridden, on the road
            x = float(rng.choice([*road.lanes, side.kerb - side.sign * 0.8]))
            z = rng.uniform(4.5, 13)
            heading = _heading(x) + rng.choice([0., 1.]) * rng.uniform(-1.2, 1.2)
            if places.take(x, z, 2.):
                things.append(_vehicle(rng, kind, x, z, heading, True))
        else:  # parked, on the sidewalk
            x = side.kerb + side.sign * rng.uniform(0.5, side.sidewalk - 0.6)
            things.append(_vehicle(rng, kind, x, rng.uniform(5, 12), rng.uniform(0.6, 2.2)))
    return things


def _furniture(rng: np.random.Generator, layout: Layout, road: Road, side: Side) -> list[Thing]:
    """Street lamps, trees, signs and bins along the kerb."""
    things = []
    kerb = side.kerb + side.sign * 0.45
    lamps = rng.random() < 0.7
    trees = rng.random() < 0.4
    for z in np.arange(rng.uniform(5, 14), 70, rng.uniform(11, 17)):
        if road.crosses(float(z), 0):
            continue
        if lamps:
            things.append(Thing('lamp', kerb, float(z), 0.24, rng.uniform(5.5, 7), 0.3,
                                heading=float(side.sign), **tones(rng)))
        if trees:
            things.append(tree(rng, kerb + side.sign * 0.5, float(z) + rng.uniform(4, 7), 0.7))
    if chance(rng, layout, 'sign'):
        things += [Thing('sign', kerb + side.sign * rng.uniform(-.1, .4), rng.uniform(6, 20),
                         0.18, rng.uniform(2.2, 3.), 0.3, **tones(rng))
                   for _ in range(int(rng.integers(1, 4)))]
    if rng.random() < 0.25:
        things.append(Thing('bin', kerb + side.sign * 0.6, rng.uniform(5, 15), 0.6, 1.1, 0.6, **tones(rng)))
    return things


def _signals(rng: np.random.Generator, layout: Layout, road: Road) -> list[Thing]:
    """Traffic lights, at the junction where there is one."""
    if not chance(rng, layout, 'light'):
        return []
    z = min(road.junction - 1.5, 20) if road.junction is not None else rng.uniform(7, 16)
    return [Thing('light', side.kerb + side.sign * 0.4, z + rng.uniform(-.5, .5), 0.22,
                  rng.uniform(3.2, 4.6), 0.3, heading=float(side.sign), **tones(rng))
            for side in road.sides if side.sign > 0 or rng.random() < 0.7]


def _walkers(rng: np.random.Generator, layout: Layout, road: Road) -> list[Thing]:
    things = []
    for _ in range(int(rng.integers(layout.walkers[0], layout.walkers[1] + 1))):
        side = road.sides[int(rng.integers(2))]
        x = side.kerb + side.sign * rng.uniform(0.4, side.sidewalk - 0.3)
        if rng.random() < 0.06:  # crosses the street
            x = rng.uniform(road.lanes[0], road.lanes[-1])
        z = 5.5 + 17 * rng.random() ** 1.5
        for step in range(1 + int(rng.random() < 0.3)):  # some in pairs
            height = rng.uniform(1.55, 1.9) * (0.68 if rng.random() < 0.08 else 1)
            things.append(Thing('person', x + 0.6 * step, z + 0.1 * step, 0.5, height, 0.3,
                                heading=float(rng.choice([-1, 1])), **tones(rng)))
    return things


def sample_scene(rng: np.random.Generator, layout: Layout) -> Scene:
    """Draw a random street with the statistics of a data set."""
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
    road = Road(sides, lanes, junction, rail)
    rows = sample_rows(rng, layout, road)
    things = _things(rng, layout, road, train)
    things = sorted(things, key=lambda t: -(t.near + 0.5 * abs(t.x - camera.x)))
    return Scene(camera, road, tuple(rows), tuple(things), sun,
                 int(rng.integers(2 ** 31)), bool(rng.random() < layout.hood))
