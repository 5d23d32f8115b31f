"""Trees, hedges, and everything on a pole."""

import numpy as np

from . import labels as L
from .canvas import Canvas, lengthwise, shade
from .scene import Scene, Thing
from .styles import Style


def _at(thing: Thing, u: float, v: float) -> np.ndarray:
    """A point u metres to the right of the thing and v metres up: (3,)."""
    return np.array([thing.x + u, v, thing.z])


def disc(thing: Thing, u: float, v: float, radius: float, sides: int = 14) -> np.ndarray:
    """A regular polygon that faces the camera: (sides, 3)."""
    angle = np.arange(sides) * 2 * np.pi / sides + np.pi / 2
    return np.column_stack([thing.x + u + radius * np.cos(angle),
                            v + radius * np.sin(angle), np.full(sides, thing.z)])


def box(thing: Thing, u0: float, u1: float, v0: float, v1: float) -> np.ndarray:
    """A rectangle that faces the camera: (4, 3)."""
    return np.array([[thing.x + u, v, thing.z] for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))])


def draw_tree(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A trunk with a crown of blobs, brighter towards the sky."""
    rng = np.random.default_rng(thing.seed)
    part = canvas.part(L.VEGETATION, thing.z)
    leaf, trunk = style.colour('vegetation', *thing.tones), style.colour('trunk')
    height, radius = thing.height, thing.width / 2
    canvas.strip(_at(thing, 0, 0), _at(thing, 0, height * 0.55), 0.06 * height, trunk, part)
    count = 34 if thing.z < 45 else 14
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * 0.75
    u, v = reach * np.cos(angle), reach * np.sin(angle)
    order = np.argsort(v + 0.3 * rng.random(count))
    u, v = u[order], v[order]
    middle = height * 0.66
    centres = np.column_stack([thing.x + u * radius, middle + v * height * 0.33, np.full(count, thing.z)])
    sun = -np.sin(scene.sun[0]) * 0.5
    light = 1 + style.foliage * (v + sun * -u + rng.uniform(-0.35, 0.35, count))
    canvas.discs(centres[:6], np.full(6, radius * 0.5), np.array([shade(leaf, 0.75)] * 6), part)
    canvas.discs(centres, radius * rng.uniform(0.2, 0.42, count),
                 np.clip(np.array(leaf) * light[:, None], 0, 255), part)


def draw_hedge(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A row of bushes along the street."""
    rng = np.random.default_rng(thing.seed)
    part = canvas.part(L.VEGETATION, max(thing.near + 4, 3.))
    leaf = style.colour('vegetation', *thing.tones)
    z0, z1 = thing.near, thing.z + thing.length / 2
    canvas.polygon(lengthwise(thing.x, z0, z1, thing.height * .8), shade(leaf, 0.72), part)
    count = int(thing.length * 5)
    z = np.sort(rng.uniform(z0, z1, count))[::-1]
    v = rng.uniform(0.1, 0.92, count)
    centres = np.column_stack([np.full(count, thing.x), v * thing.height, z])
    light = 1 + style.foliage * (2 * v - 1 + rng.uniform(-0.4, 0.4, count))
    canvas.discs(centres, rng.uniform(0.2, 0.42, count), np.clip(np.array(leaf) * light[:, None], 0, 255), part)


def _pole(canvas: Canvas, style: Style, thing: Thing, height: float) -> tuple[int, np.ndarray]:
    part, colour = canvas.part(L.POLE, thing.z), style.colour('pole', *thing.tones)
    canvas.polygon(box(thing, -thing.width / 2, thing.width / 2, 0, height), colour, part)
    canvas.polygon(box(thing, -thing.width / 2, -thing.width / 6, 0, height), shade(colour, 1.25), part)
    return part, colour


def draw_lamp(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A street lamp; `heading` is its side of the street."""
    part, colour = _pole(canvas, style, thing, thing.height)
    reach = -1.5 * thing.heading
    canvas.polygon(box(thing, -0.14, 0.14, 0, 0.7), shade(colour, 0.85), part)
    canvas.strip(_at(thing, 0, thing.height - 0.05), _at(thing, reach, thing.height + 0.25), 0.12, colour, part)
    canvas.strip(_at(thing, reach * 0.7, thing.height + 0.16),
                 _at(thing, reach * 1.25, thing.height + 0.28), 0.22, shade(colour, 0.8), part)


def draw_light(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A traffic light at its pole; tall ones carry a second one above the road."""
    part, colour = _pole(canvas, style, thing, thing.height)
    state = int(thing.tones[0] * 3)
    heads = [(0., thing.height - 0.75)]
    if thing.height > 3.9:
        reach = -2.6 * thing.heading
        canvas.strip(_at(thing, 0, thing.height), _at(thing, reach, thing.height + 0.2), 0.14, colour, part)
        heads = [(0., 2.5), (reach, thing.height - 0.6)]
    label = canvas.part(L.LIGHT, thing.z)
    housing = style.colour('housing', *thing.tones)
    for u, v in heads:
        canvas.polygon(box(thing, u - 0.32, u + 0.32, v - 0.7, v + 0.7), housing, label)
        for slot, name in enumerate(('red', 'yellow', 'green')):
            lamp = (60, 220, 110) if name == 'green' else style.colour(name)
            lamp = lamp if slot == state else shade(style.colour('lamp_off'), 1.2)
            canvas.polygon(disc(thing, u, v + 0.43 * (1 - slot), 0.19), lamp, label)


def draw_sign(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """One of six traffic signs on a pole."""
    _pole(canvas, style, thing, thing.height)
    part, v = canvas.part(L.SIGN, thing.z), thing.height - 0.25
    red, white, blue, yellow = (style.colour(name, 0.5, thing.tones[1]) for name in ('red', 'white', 'blue', 'yellow'))
    dark = (30, 30, 30)
    kinds = [  # shapes with their colours
        [(disc(thing, 0, v, 0.5), red), (box(thing, -0.34, 0.34, v - 0.1, v + 0.1), white)],  # no entry
        [(disc(thing, 0, v, 0.5), red), (disc(thing, 0, v, 0.35), white),
         (box(thing, -0.18, 0.18, v - 0.12, v + 0.12), dark)],  # speed limit
        [(disc(thing, 0, v - 0.08, 0.62, 3), red), (disc(thing, 0, v - 0.08, 0.4, 3), white)],  # danger
        [(disc(thing, 0, v, 0.55, 4), white), (disc(thing, 0, v, 0.41, 4), yellow)],  # priority
        [(box(thing, -0.45, 0.45, v - 0.45, v + 0.45), blue), (box(thing, -0.16, -0.02, v - 0.32, v + 0.32), white),
         (disc(thing, 0.04, v + 0.13, 0.19), white)],  # parking
        [(box(thing, -0.8, 0.8, v - 0.34, v + 0.34), yellow),
         (box(thing, -0.6, 0.4, v - 0.05, v + 0.07), (40, 40, 40))]]  # direction
    for shape, colour in kinds[int(thing.tones[2] * 6)]:
        canvas.polygon(shape, colour, part)


def draw_bin(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A litter bin: Cityscapes' void class `static`."""
    part, colour = canvas.part(L.STATIC, thing.z), style.colour('bin', *thing.tones)
    canvas.polygon(box(thing, -0.28, 0.28, 0, thing.height), colour, part)
    canvas.polygon(box(thing, -0.34, 0.34, thing.height * 0.85, thing.height), shade(colour, 0.7), part)
