"""Random houses, walls, fences, hedges and trees behind the sidewalks."""

import numpy as np

from .scene import JUNCTION_WIDTH, Layout, Road, Side, Thing

FAR = 90.  # metres; the skyline is farther away


def tones(rng: np.random.Generator) -> dict:
    """The random numbers from which a style derives a thing's appearance."""
    return dict(tones=tuple(rng.random(3).tolist()), seed=int(rng.integers(2 ** 31)))


def chance(rng: np.random.Generator, layout: Layout, kind: str) -> bool:
    """Draw whether this kind of thing occurs in the picture (or on a side of the street)."""
    return rng.random() < layout.chances[kind]


def sample_rows(rng: np.random.Generator, layout: Layout, road: Road) -> list[Thing]:
    """Buildings, walls, fences, hedges and trees along both sides, from far to near."""
    special = [kind for kind in ('wall', 'fence') if chance(rng, layout, kind)]
    homes = {kind: int(rng.integers(2)) for kind in special}
    built = rng.uniform(0.35, 0.95)  # how urban the street is
    behind, front = [], []
    for index, side in enumerate(road.sides):
        mine = [kind for kind, home in homes.items() if home == index]
        behind += _back_row(rng, layout, road, side, built)
        front += _front_row(rng, layout, road, side, built, mine)
    return [thing for row in (behind, front) for thing in sorted(row, key=lambda t: -t.z)]


def _back_row(rng: np.random.Generator, layout: Layout, road: Road, side: Side, built: float) -> list[Thing]:
    """Houses and trees that are visible above walls and hedges, and through gaps."""
    things, z = [], rng.uniform(2, 10)
    while z < FAR:
        length = rng.uniform(10, 20)
        x = side.front + side.sign * rng.uniform(13, 17)
        if rng.random() < built and not road.crosses(z, length):
            things.append(_building(rng, layout, x, z, length))
        else:
            things += [tree(rng, x + rng.uniform(-2, 2), z + part * length) for part in (0.2, 0.7)]
        z += length + rng.uniform(0, 8)
    return things


def _front_row(rng: np.random.Generator, layout: Layout, road: Road, side: Side, built: float,
               special: list[str]) -> list[Thing]:
    """Facades, walls, fences and hedges right behind the sidewalk or the grass."""
    things, z, junction, queue = [], rng.uniform(-6, 2), road.junction, list(special)
    while z < FAR:
        length = rng.uniform(8, 18)
        if road.crosses(z, length):
            length = junction - 3.1 - z  # up to the corner, or beyond the crossing street
            if length < 4:
                z = junction + JUNCTION_WIDTH + 3.1
                continue
        kind = 'building' if rng.random() < built else str(rng.choice(['hedge', 'trees', 'gap']))
        if queue and z + length > 11:  # as near as it is visible
            kind = queue.pop()
        x = side.front + side.sign * 0.3
        if kind == 'building':
            x += side.sign * rng.uniform(0, 1.5)
            things.append(_building(rng, layout, x, z, length))
        elif kind in ('wall', 'fence', 'hedge'):
            height = dict(wall=rng.uniform(2., 3.4), fence=rng.uniform(1.6, 2.6), hedge=rng.uniform(1.2, 2.5))[kind]
            length *= 1 if kind == 'hedge' else 1.3
            length = min(length, junction - 3 - z) if junction and z < junction else length
            things.append(Thing(kind, x, z + length / 2, side.sign * 0.5, height, length, **tones(rng)))
        elif kind == 'trees':
            things += [tree(rng, x + side.sign * rng.uniform(1, 4), z + part * length) for part in (0.15, 0.5, 0.85)]
        z += length + (0. if rng.random() < 0.6 else rng.uniform(0.5, 4))
    return things


def _building(rng: np.random.Generator, layout: Layout, x: float, z: float, length: float) -> Thing:
    """A building whose facade is at x; `width` points away from the street."""
    storeys = int(rng.integers(layout.storeys[0], layout.storeys[1] + 1))
    return Thing('building', x, z + length / 2, float(np.sign(x)) * rng.uniform(9, 12),
                 storeys * rng.uniform(2.8, 3.4) + 0.8, length, **tones(rng))


def tree(rng: np.random.Generator, x: float, z: float, scale: float = 1.) -> Thing:
    """A tree of five to ten metres, times `scale`."""
    height = rng.uniform(5., 9.5) * scale
    return Thing('tree', x, z, height * rng.uniform(0.5, 0.75), height, 0.5, **tones(rng))
