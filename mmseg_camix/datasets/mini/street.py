"""The objects of a street: rows of buildings, traffic, people, poles, drawn at random."""

from dataclasses import dataclass, field

import numpy as np

from .scene import JUNCTION_WIDTH, Layout, Side, Thing

FAR = 90.  # metres; beyond stands the skyline

# width, height and length in metres
SIZES = dict(car=(1.85, 1.5, 4.3), truck=(2.5, 3.5, 8.), bus=(2.6, 3.2, 11.5),
             train=(2.7, 3.6, 24.), motorcycle=(0.6, 1.15, 2.1), bicycle=(0.5, 1.05, 1.8))


def _tones(rng: np.random.Generator) -> dict:
    return dict(tones=tuple(rng.random(3).tolist()), seed=int(rng.integers(2 ** 31)))


def _chance(rng: np.random.Generator, layout: Layout, kind: str) -> bool:
    return rng.random() < layout.chances[kind]


# --- behind the sidewalks -------------------------------------------------------------------------

def sample_rows(rng: np.random.Generator, layout: Layout, sides: tuple[Side, ...],
                junction: float | None) -> list[Thing]:
    """Buildings, walls, fences, hedges and trees along both sides, from far to near."""
    special = [kind for kind in ('wall', 'fence') if _chance(rng, layout, kind)]
    homes = {kind: int(rng.integers(2)) for kind in special}
    built = rng.uniform(0.35, 0.95)  # how urban the street is
    behind, front = [], []
    for index, side in enumerate(sides):
        mine = [kind for kind, home in homes.items() if home == index]
        behind += _back_row(rng, layout, side, junction, built)
        front += _front_row(rng, layout, side, junction, built, mine)
    order = lambda things: sorted(things, key=lambda t: -t.z)  # noqa: E731
    return order(behind) + order(front)


def _crosses(z: float, length: float, junction: float | None) -> bool:
    return junction is not None and z < junction + JUNCTION_WIDTH + 3 and z + length > junction - 3


def _back_row(rng: np.random.Generator, layout: Layout, side: Side, junction: float | None,
              built: float) -> list[Thing]:
    """What shows above walls and hedges, and through gaps."""
    things, z = [], rng.uniform(2, 10)
    while z < FAR:
        length = rng.uniform(10, 20)
        x = side.front + side.sign * rng.uniform(13, 17)
        if rng.random() < built and not _crosses(z, length, junction):
            things.append(_building(rng, layout, x, z, length))
        else:
            things += [_tree(rng, x + rng.uniform(-2, 2), z + part * length)
                       for part in (0.2, 0.7)]
        z += length + rng.uniform(0, 8)
    return things


def _front_row(rng: np.random.Generator, layout: Layout, side: Side, junction: float | None,
               built: float, special: list[str]) -> list[Thing]:
    """Facades, walls, fences and hedges right behind the sidewalk or the grass."""
    things, z = [], rng.uniform(-6, 2)
    queue = list(special)
    while z < FAR:
        length = rng.uniform(8, 18)
        if _crosses(z, length, junction):
            length = junction - 3.1 - z  # up to the corner, or on behind the crossing street
            if length < 4:
                z = junction + JUNCTION_WIDTH + 3.1
                continue
        kind = 'building' if rng.random() < built else str(rng.choice(['hedge', 'trees', 'gap']))
        if queue and z > 1 and (z > 12 or rng.random() < 0.6):
            kind = queue.pop()
        x = side.front + side.sign * 0.3
        if kind == 'building':
            x += side.sign * rng.uniform(0, 1.5)
            things.append(_building(rng, layout, x, z, length))
        elif kind in ('wall', 'fence', 'hedge'):
            height = dict(wall=rng.uniform(1.8, 3.2), fence=rng.uniform(1.3, 2.2),
                          hedge=rng.uniform(1.2, 2.5))[kind]
            length *= 1 if kind == 'hedge' else 1.3
            length = min(length, junction - 3 - z) if junction and z < junction else length
            things.append(Thing(kind, x, z + length / 2, side.sign * 0.5, height, length,
                                **_tones(rng)))
        elif kind == 'trees':
            things += [_tree(rng, x + side.sign * rng.uniform(1, 4), z + part * length)
                       for part in (0.15, 0.5, 0.85)]
        z += length + (0. if rng.random() < 0.6 else rng.uniform(0.5, 4))
    return things


def _building(rng: np.random.Generator, layout: Layout, x: float, z: float,
              length: float) -> Thing:
    """x is the side that looks to the street; `width` points away from it."""
    storeys = int(rng.integers(layout.storeys[0], layout.storeys[1] + 1))
    return Thing('building', x, z + length / 2, float(np.sign(x)) * rng.uniform(9, 12),
                 storeys * rng.uniform(2.8, 3.4) + 0.8, length, **_tones(rng))


def _tree(rng: np.random.Generator, x: float, z: float, scale: float = 1.) -> Thing:
    height = rng.uniform(5., 9.5) * scale
    return Thing('tree', x, z, height * rng.uniform(0.5, 0.75), height, 0.5, **_tones(rng))


# --- on road and sidewalk -------------------------------------------------------------------------

@dataclass
class _Places:
    """Which stretches of a lane are taken."""

    taken: list[tuple[float, float, float]] = field(default_factory=list)  # x, z0, z1

    def take(self, x: float, z: float, length: float, gap: float = 1.5) -> bool:
        """Reserve the stretch around z, unless something stands there."""
        start, end = z - length / 2 - gap, z + length / 2 + gap
        if any(abs(x - other) < 2.3 and start < hi and end > lo for other, lo, hi in self.taken):
            return False
        self.taken.append((x, start, end))
        return True


def sample_things(rng: np.random.Generator, layout: Layout, sides: tuple[Side, ...],
                  lanes: tuple[float, ...], junction: float | None,
                  rail: float | None) -> list[Thing]:
    """Traffic, people and street furniture, in no particular order."""
    places = _Places()
    things = _traffic(rng, layout, sides, lanes, junction, rail, places)
    for side in sides:
        things += _furniture(rng, layout, side, junction)
    things += _signals(rng, layout, sides, junction)
    things += _walkers(rng, layout, sides, lanes)
    return things


def _vehicle(rng: np.random.Generator, kind: str, x: float, z: float, heading: float,
             ridden: bool = False) -> Thing:
    width, height, length = SIZES[kind]
    scale = rng.uniform(0.93, 1.07)
    return Thing(kind, x, z, width * scale, height * scale, length * scale, heading,
                 ridden=ridden, **_tones(rng))


def _traffic(rng: np.random.Generator, layout: Layout, sides: tuple[Side, ...],
             lanes: tuple[float, ...], junction: float | None, rail: float | None,
             places: _Places) -> list[Thing]:
    things: list[Thing] = []

    def add(kind: str, tries: int, near: float, far: float, ridden: bool = False) -> None:
        for _ in range(tries):
            x = float(rng.choice(lanes)) + rng.uniform(-0.3, 0.3)
            length = SIZES[kind][2]
            z = rng.uniform(near, far) + length / 2
            if abs(x) < 1.5 and z - length / 2 < 8:
                continue
            if places.take(x, z, length):
                things.append(_vehicle(rng, kind, x, z, 0. if x > -1.6 else np.pi, ridden))
                return

    if rail is not None:
        z = rng.uniform(9, 20) + SIZES['train'][2] / 2
        places.take(rail, z, SIZES['train'][2])
        things.append(_vehicle(rng, 'train', rail, z, float(rng.choice([0., np.pi]))))
    for kind in ('bus', 'truck'):
        if _chance(rng, layout, kind):
            add(kind, 6, 7, 22)
    for kind in ('motorcycle', 'bicycle'):
        if _chance(rng, layout, kind):
            things += _bikes(rng, kind, sides, lanes, places)
    if junction is not None and rng.random() < 0.5:
        z = junction + rng.uniform(2.5, 6)
        things.append(_vehicle(rng, 'car', rng.uniform(-9, 9), z, np.pi / 2))
    parked = [side.kerb - side.sign * 1.05 for side in sides]
    for x in (*lanes, *parked):
        for z in np.arange(6., 60., 7.) + rng.uniform(0, 5):
            if abs(x) < 1.5 and z < 9 or rng.random() > layout.traffic:
                continue
            if places.take(x, float(z), SIZES['car'][2]):
                things.append(_vehicle(rng, 'car', x + rng.uniform(-.2, .2), float(z),
                                       0. if x > -1.6 else np.pi))
    return things


def _bikes(rng: np.random.Generator, kind: str, sides: tuple[Side, ...],
           lanes: tuple[float, ...], places: _Places) -> list[Thing]:
    """One to three bicycles or motorcycles; about half of them are ridden."""
    things = []
    for _ in range(int(rng.integers(1, 4 if kind == 'bicycle' else 3))):
        side = sides[int(rng.integers(2))]
        if rng.random() < 0.6:  # ridden, on the road
            x = float(rng.choice([*lanes, side.kerb - side.sign * 0.8]))
            z = rng.uniform(5, 16)
            heading = (0. if x > -1.6 else np.pi) + rng.choice([0., rng.uniform(-0.9, 0.9)])
            if places.take(x, z, 2.):
                things.append(_vehicle(rng, kind, x, z, heading, True))
        else:  # parked, on the sidewalk
            x = side.kerb + side.sign * rng.uniform(0.5, side.sidewalk - 0.6)
            things.append(_vehicle(rng, kind, x, rng.uniform(5, 15), rng.uniform(0.6, 2.2)))
    return things


def _furniture(rng: np.random.Generator, layout: Layout, side: Side,
               junction: float | None) -> list[Thing]:
    """Street lamps, trees, signs and bins along the kerb."""
    things = []
    kerb = side.kerb + side.sign * 0.45
    lamps = rng.random() < 0.7
    trees = rng.random() < 0.4
    for z in np.arange(rng.uniform(5, 14), 70, rng.uniform(11, 17)):
        if _crosses(float(z), 0, junction):
            continue
        if lamps:
            things.append(Thing('lamp', kerb, float(z), 0.16, rng.uniform(5.5, 7), 0.3,
                                heading=float(side.sign), **_tones(rng)))
        if trees:
            things.append(_tree(rng, kerb + side.sign * 0.5, float(z) + rng.uniform(4, 7), 0.7))
    if _chance(rng, layout, 'sign'):
        for _ in range(int(rng.integers(1, 4))):
            things.append(Thing('sign', kerb + side.sign * rng.uniform(-.1, .4),
                                rng.uniform(5.5, 26), 0.13, rng.uniform(2.2, 3.), 0.3,
                                **_tones(rng)))
    if rng.random() < 0.25:
        things.append(Thing('bin', kerb + side.sign * 0.6, rng.uniform(5, 15), 0.6, 1.1, 0.6,
                            **_tones(rng)))
    return things


def _signals(rng: np.random.Generator, layout: Layout, sides: tuple[Side, ...],
             junction: float | None) -> list[Thing]:
    """Traffic lights, at the junction where there is one."""
    if not _chance(rng, layout, 'light'):
        return []
    z = min(junction - 1.5, 24) if junction is not None else rng.uniform(7, 18)
    return [Thing('light', side.kerb + side.sign * 0.4, z + rng.uniform(-.5, .5), 0.16,
                  rng.uniform(3.2, 4.6), 0.3, heading=float(side.sign), **_tones(rng))
            for side in sides if side.sign > 0 or rng.random() < 0.7]


def _walkers(rng: np.random.Generator, layout: Layout, sides: tuple[Side, ...],
             lanes: tuple[float, ...]) -> list[Thing]:
    things = []
    for _ in range(int(rng.integers(layout.walkers[0], layout.walkers[1] + 1))):
        side = sides[int(rng.integers(2))]
        x = side.kerb + side.sign * rng.uniform(0.4, side.sidewalk - 0.3)
        if rng.random() < 0.06:  # crosses the street
            x = rng.uniform(lanes[0], lanes[-1])
        z = 5.5 + 22 * rng.random() ** 1.5
        for step in range(1 + int(rng.random() < 0.3)):  # some walk in pairs
            height = rng.uniform(1.55, 1.9) * (0.68 if rng.random() < 0.08 else 1)
            things.append(Thing('person', x + 0.6 * step, z + 0.1 * step, 0.5, height, 0.3,
                                heading=float(rng.choice([-1, 1])), **_tones(rng)))
    return things
