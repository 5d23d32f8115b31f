"""Houses, walls and fences behind the sidewalks."""

import numpy as np

from . import labels as L
from .canvas import Canvas, Colour, lengthwise, patch, patches, shade, upright, windows
from .scene import Scene, Thing
from .styles import Style


def draw_building(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A house: the facade to the street and the gable to the camera, each with windows."""
    rng = np.random.default_rng(thing.seed)
    x0, x1 = thing.x, thing.x + thing.width
    z0, z1 = thing.z - thing.length / 2, thing.z + thing.length / 2
    height, sign = thing.height, float(np.sign(thing.width))
    part = canvas.part(L.BUILDING, max(thing.z - 2, 2.))
    colour = style.colour('building', *thing.tones)
    pitched = rng.random() < 0.5
    top = height * (0.82 if pitched else 1.)
    street = lengthwise(x0, z0, z1, top)
    gable = upright(x0, x1, 0, top, z0)
    roof = style.colour('roof', rng.random(), thing.tones[1])
    if pitched:
        middle = (x0 + x1) / 2
        canvas.polygon(np.array([[x0 - sign * .3, top, z0], [x0 - sign * .3, top, z1],
                                 [middle, height, z1], [middle, height, z0]]),
                       shade(roof, style.brightness(scene, (-sign * .6, .8, 0))), part)
        canvas.polygon(np.array([[x0, top, z0], [x1, top, z0], [middle, height, z0]]),
                       shade(colour, style.brightness(scene, (0, 0, -1))), part)
    else:
        canvas.polygon(np.array([[x0, top, z0], [x0, top, z1], [x1, top, z1], [x1, top, z0]]), roof, part)
    looks = int(rng.integers(4)), rng.uniform(0.4, 0.65), rng.uniform(0.45, 0.65), rng.random()
    for quad, length, normal in ((gable, abs(thing.width), (0, 0, -1)), (street, thing.length, (-sign, 0, 0))):
        if canvas.may_show(quad):
            _facade(canvas, style, thing, quad, shade(colour, style.brightness(scene, normal)),
                    part, (length, top), looks)
    if not pitched:
        for quad in (gable, street):
            canvas.polygon(patch(quad, 0, 1, 0.965, 1), shade(colour, 0.7), part)


def _facade(canvas: Canvas, style: Style, thing: Thing, quad: np.ndarray, colour: Colour,
            part: int, extent: tuple[float, float], looks: tuple) -> None:
    """One face of a house; extent: its length and height in metres."""
    kind, wide, tall, pick = looks
    rng = np.random.default_rng(thing.seed + 1)
    canvas.polygon(quad, colour, part)
    length, height = extent
    floors = max(round(height / 3), 1)
    ground = 1 / floors
    columns = max(round(length / (4.5 if kind == 1 else 2.6)), 2)
    glass = style.colour('window', pick, thing.tones[2])
    if floors > 1:
        if kind == 1:  # ribbons of glass
            wide = 0.92
        grid = windows(quad, columns, floors - 1, wide, tall, ground, 0.97)
        distant = thing.near > 45  # too small for frames and lit panes
        if kind != 1 and not distant:
            frames = windows(quad, columns, floors - 1, wide * 1.25, tall * 1.2, ground, 0.97)
            canvas.polygons(frames, shade(colour, 1.18 if kind == 0 else 0.84), part)
        canvas.polygons(grid, shade(glass, 0.9), part)
        if distant:
            return
        canvas.polygons(grid[rng.random(len(grid)) < 0.35], shade(glass, 1.2), part)
    canvas.polygon(patch(quad, 0, 1, 0, 0.3 * ground), shade(colour, 0.8), part)
    if kind >= 2:  # shops
        canvas.polygons(windows(quad, max(columns // 2, 1), 1, 0.8, 0.8, 0.04, ground * 0.85),
                        style.colour('shop', pick), part)
        canvas.polygon(patch(quad, 0.04, 0.96, ground * 0.8, ground * 0.98),
                       style.colour('awning', rng.random(), thing.tones[1]), part)
    else:
        canvas.polygons(windows(quad, columns, 1, wide, tall * 0.8, 0.2 * ground, ground), shade(glass, 0.9), part)
    door = rng.uniform(0.1, 0.8)
    canvas.polygon(patch(quad, door, door + 1.3 / length, 0, ground * 0.75),
                   style.colour('door', pick, thing.tones[0]), part)


def draw_wall(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A wall along the street with a coping and pillars."""
    part, sign = canvas.part(L.WALL, max(thing.near + 4, 3.)), float(np.sign(thing.width))
    colour = shade(style.colour('wall', *thing.tones), style.brightness(scene, (-sign, 0, 0)))
    street, end, top = _slab(thing)
    canvas.polygon(top, shade(colour, 1.15), part)
    canvas.polygon(end, shade(colour, 0.85), part)
    canvas.polygon(street, colour, part)
    edges = np.arange(0.25, thing.height - 0.2, 0.5) / thing.height
    rows = np.column_stack([edges, edges + 0.04 / thing.height])
    canvas.polygons(patches(street, np.tile([0., 1.], (len(rows), 1)), rows), shade(colour, .88), part)
    count = max(int(thing.length / 3), 2)
    canvas.polygons(windows(street, count, 1, 0.1, 1., 0, 0.98), shade(colour, 1.1), part)
    canvas.polygon(patch(street, 0, 1, 0.93, 1), shade(colour, 1.25), part)


def _slab(thing: Thing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Street face, near end and top of a thin box along the street: (4, 3) each."""
    x0, x1 = thing.x, thing.x + thing.width
    z0, z1, y = thing.z - thing.length / 2, thing.z + thing.length / 2, thing.height
    top = np.array([[x0, y, z0], [x0, y, z1], [x1, y, z1], [x1, y, z0]])
    return lengthwise(x0, z0, z1, y), upright(x0, x1, 0, y, z0), top


def draw_fence(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """Pickets and two rails in front of a dark background."""
    part = canvas.part(L.FENCE, max(thing.near + 4, 3.))
    colour = style.colour('fence', *thing.tones)
    street = _slab(thing)[0]
    canvas.polygon(patch(street, 0, 1, 0, 0.95), style.colour('fence_gap', *thing.tones[:2]), part)
    count = int(thing.length / 0.42)
    canvas.polygons(windows(street, count, 1, 0.5, 1., 0, 1), colour, part)
    for low in (0.12, 0.78):
        canvas.polygon(patch(street, 0, 1, low, low + 0.1), shade(colour, 0.85), part)
