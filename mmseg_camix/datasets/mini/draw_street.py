"""Sky, ground, and what stands behind the sidewalks."""

import numpy as np

from . import labels as L
from .canvas import Canvas, blend, patch, patches, shade
from .scene import JUNCTION_WIDTH, LANE_WIDTH, Scene, Side, Thing
from .styles import Style

_END = 400.  # metres to where the ground is drawn


def sunlight(scene: Scene, style: Style, normal: tuple[float, float, float]) -> float:
    """Brightness of a surface with this normal: `ambient` in the shade, about 1 in the sun."""
    azimuth, elevation = scene.sun
    to_sun = (np.sin(azimuth) * np.cos(elevation), np.sin(elevation),
              -np.cos(azimuth) * np.cos(elevation))
    lit = max(float(np.dot(normal, to_sun)), 0.)
    return style.ambient + (1.08 - style.ambient) * lit


def draw_sky(canvas: Canvas, style: Style, rng: np.random.Generator) -> None:
    """A gradient with clouds behind everything."""
    part = canvas.part(L.SKY, 1000.)
    rows, columns = canvas.pixels.shape[:2]
    pick, tone = rng.random(2)
    top, low = style.colour('sky_top', pick, tone), style.colour('sky_low', pick, tone)
    camera = canvas.camera
    horizon = 0.5 - camera.focal * np.tan(camera.pitch)
    amount = np.clip((np.arange(rows) / rows) / max(horizon, 0.1), 0, 1)[:, None]
    canvas.pixels[..., :3] = (top * (1 - amount) + low * amount)[:, None]
    canvas.pixels[..., 3] = part
    cloud = style.colour('cloud')
    for _ in range(int(rng.integers(1, 6))):
        x, y = rng.uniform(-180, 180), rng.uniform(45, 150)
        width, strength = rng.uniform(20, 60), rng.uniform(*style.clouds)
        count = 9
        offset = rng.normal(0, 1, (count, 2)) * (width * 0.45, width * 0.06)
        centres = np.column_stack([x + offset[:, 0], y + np.abs(offset[:, 1]), np.full(count, 300.)])
        radii = width * rng.uniform(0.08, 0.2, count)
        for depth, lift in ((0.45, 0.), (0.8, 0.03 * width)):
            centres[:, 1] += lift
            colour = np.tile(blend(low, cloud, strength * depth), (count, 1))
            canvas.discs(centres, radii * (1 if lift == 0 else 0.8), colour, part)


def draw_skyline(canvas: Canvas, style: Style, rng: np.random.Generator) -> None:
    """What closes the street far away: houses, or a wooded hill."""
    z = 130.
    if rng.random() < 0.5:
        part = canvas.part(L.VEGETATION, z)
        base = style.colour('vegetation', *rng.random(2))
        count = 60
        centres = np.column_stack([np.linspace(-170, 170, count), rng.uniform(2, 11, count),
                                   np.full(count, z)])
        canvas.polygon(_upright(-200, 200, 0, 7, z), base, part)
        canvas.discs(centres, rng.uniform(4, 8, count),
                     base * rng.uniform(0.85, 1.15, (count, 1)), part)
        return
    part, x = canvas.part(L.BUILDING, z), -180.
    while x < 180:
        width, height = rng.uniform(10, 22), rng.uniform(8, 22)
        colour = style.colour('building', *rng.random(3))
        wall = _upright(x, x + width, 0, height, z)
        canvas.polygon(wall, colour, part)
        grid = _windows(wall, max(int(width / 4), 2), max(int(height / 4), 2), 0.5, 0.5, 0., 1.)
        canvas.polygons(grid, shade(colour, 0.75), part)
        x += width


def _upright(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def _flat(x0: float, x1: float, z0: float, z1: float) -> np.ndarray:
    """A rectangle on the ground, cut into three along z so that perspective stays exact: (4, 3)."""
    return np.array([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]])


# --- ground ---------------------------------------------------------------------------------------

def draw_ground(canvas: Canvas, scene: Scene, style: Style, rng: np.random.Generator,
                grass: bool) -> None:
    """Grass or paving everywhere, then sidewalks, kerbs, the road with markings, and rails."""
    light = sunlight(scene, style, (0, 1, 0))
    tones = rng.random((4, 2))
    paving = style.colour('sidewalk', *tones[0]) * light
    meadow = style.colour('terrain', *tones[1]) * light
    asphalt = style.colour('road', *tones[2]) * light
    walk, road = canvas.part(L.SIDEWALK), canvas.part(L.ROAD)
    canvas.polygon(_flat(-300, 300, -20, _END), *(
        (meadow, canvas.part(L.TERRAIN)) if grass else (shade(paving, 0.95), walk)))
    if grass:
        _tufts(canvas, meadow, rng)
    spans = [(-20., _END)]
    if scene.junction is not None:
        spans = [(-20., scene.junction), (scene.junction + JUNCTION_WIDTH, _END)]
        start, end = spans[0][1], spans[1][0]
        canvas.polygon(_flat(-300, 300, start - 2.4, end + 2.4), paving, walk)
        canvas.polygon(_flat(-300, 300, start, end), asphalt, road)
    for side in scene.sides:
        for z0, z1 in spans:
            _sidewalk(canvas, side, z0, z1, paving, style.colour('kerb') * light, walk)
    canvas.polygon(_flat(scene.sides[0].kerb, scene.sides[1].kerb, -20, _END), asphalt, road)
    _wear(canvas, scene, asphalt, road, rng)
    _markings(canvas, scene, style.colour('marking', 0.5, tones[3, 0]) * light, road, rng)
    if scene.rail is not None:
        steel = style.colour('rail') * light
        canvas.polygon(_flat(scene.rail - 1.25, scene.rail + 1.25, 1, _END), shade(asphalt, 0.88),
                       road)
        for x in (-0.75, 0.65):
            canvas.polygon(_flat(scene.rail + x, scene.rail + x + 0.13, 1, _END), steel, road)


def _tufts(canvas: Canvas, colour: np.ndarray, rng: np.random.Generator) -> None:
    part = canvas.part(L.TERRAIN)
    for factor in (0.9, 1.08):
        count = 40
        x, z = rng.uniform(-30, 30, count), rng.uniform(4, 40, count)
        size = rng.uniform(0.5, 2., count)[:, None]
        shape = np.array([[-1, -.5], [0, -.8], [1, -.3], [.7, .6], [-.6, .7]])
        flat = np.stack([x, z], 1)[:, None] + shape * size[:, None]
        points = np.stack([flat[..., 0], np.zeros(flat.shape[:2]), flat[..., 1]], -1)
        canvas.polygons(points, shade(colour, factor), part)


def _sidewalk(canvas: Canvas, side: Side, z0: float, z1: float, paving: np.ndarray,
              kerb: np.ndarray, part: int) -> None:
    far = side.kerb + side.sign * side.sidewalk
    canvas.polygon(_flat(side.kerb, far, z0, z1), paving, part)
    joints = np.arange(max(z0, 2.), min(z1, 40.), 1.5)
    if len(joints):
        canvas.polygons(np.stack([_flat(side.kerb, far, z, z + 0.05) for z in joints]),
                        shade(paving, 0.88), part)
    canvas.polygon(_flat(side.kerb, side.kerb + side.sign * 0.28, z0, z1), kerb, part)


def _wear(canvas: Canvas, scene: Scene, asphalt: np.ndarray, part: int,
          rng: np.random.Generator) -> None:
    """Wheel tracks, mended patches and manholes."""
    for x in scene.lanes:
        for track in (-0.8, 0.8):
            canvas.polygon(_flat(x + track - 0.25, x + track + 0.25, 1, _END),
                           shade(asphalt, 0.95), part)
    for _ in range(int(rng.integers(0, 4))):
        x, z = rng.uniform(scene.lanes[0], scene.lanes[-1]), rng.uniform(4, 20)
        canvas.polygon(_flat(x - rng.uniform(.4, 1), x + rng.uniform(.4, 1), z,
                             z + rng.uniform(1, 5)), shade(asphalt, rng.uniform(0.86, 1.1)), part)


def _markings(canvas: Canvas, scene: Scene, paint: np.ndarray, part: int,
              rng: np.random.Generator) -> None:
    """Dashes between the lanes, lines at the edges, a zebra crossing before the junction."""
    stop = scene.junction - 4.6 if scene.junction is not None else 90.
    dashes = np.arange(1. + rng.uniform(0, 3), stop - 2, 5.)
    for left in scene.lanes[:-1]:
        x = left + LANE_WIDTH / 2
        points = [_flat(x - 0.08, x + 0.08, z, z + 2.4) for z in dashes]
        if points:
            canvas.polygons(np.stack(points), paint, part)
    if rng.random() < 0.6:
        for x in (scene.lanes[0] - LANE_WIDTH / 2, scene.lanes[-1] + LANE_WIDTH / 2):
            canvas.polygon(_flat(x - 0.06, x + 0.06, 1, stop), paint, part)
    if scene.junction is not None:
        bars = np.arange(scene.sides[0].kerb + 0.4, scene.sides[1].kerb - 0.5, 1.)
        canvas.polygons(np.stack([_flat(x, x + 0.5, stop + 0.6, stop + 3.4) for x in bars]), paint,
                        part)


# --- rows behind the sidewalks ----------------------------------------------------------------------

def _windows(quad: np.ndarray, columns: int, rows: int, wide: float, tall: float, low: float,
             high: float) -> np.ndarray:
    """A grid of windows on a quad between the heights low and high (0..1): (K, 4, 3)."""
    u, v = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    u, v = (grid.ravel() for grid in np.meshgrid(u, v))
    half = np.array([-0.5, 0.5])
    across = u[:, None] + half * wide / columns
    up = low + (high - low) * (v[:, None] + half * tall / rows)
    return patches(quad, across, up)


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
    street = np.array([[x0, 0, z0], [x0, 0, z1], [x0, top, z1], [x0, top, z0]])
    gable = _upright(x0, x1, 0, top, z0)
    roof = style.colour('roof', rng.random(), thing.tones[1])
    if pitched:
        middle = (x0 + x1) / 2
        canvas.polygon(np.array([[x0 - sign * .3, top, z0], [x0 - sign * .3, top, z1],
                                 [middle, height, z1], [middle, height, z0]]),
                       roof * sunlight(scene, style, (-sign * .6, .8, 0)), part)
        canvas.polygon(np.array([[x0, top, z0], [x1, top, z0], [middle, height, z0]]),
                       colour * sunlight(scene, style, (0, 0, -1)), part)
    else:
        canvas.polygon(np.array([[x0, top, z0], [x0, top, z1], [x1, top, z1], [x1, top, z0]]),
                       roof, part)
    looks = int(rng.integers(4)), rng.uniform(0.4, 0.65), rng.uniform(0.45, 0.65), rng.random()
    for quad, length, normal in ((gable, abs(thing.width), (0, 0, -1)),
                                 (street, thing.length, (-sign, 0, 0))):
        _facade(canvas, style, thing, quad, colour * sunlight(scene, style, normal), part,
                (length, top), looks)
    if not pitched:
        for quad in (gable, street):
            canvas.polygon(patch(quad, 0, 1, 0.965, 1), shade(colour, 0.7), part)


def _facade(canvas: Canvas, style: Style, thing: Thing, quad: np.ndarray, colour: np.ndarray,
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
        grid = _windows(quad, columns, floors - 1, wide, tall, ground, 0.97)
        if kind != 1:
            frames = _windows(quad, columns, floors - 1, wide * 1.25, tall * 1.2, ground, 0.97)
            canvas.polygons(frames, shade(colour, 1.18 if kind == 0 else 0.84), part)
        lit = rng.random(len(grid))
        for step, factor in enumerate((0.85, 1., 1.2)):
            canvas.polygons(grid[(lit * 3).astype(int) == step], shade(glass, factor), part)
    canvas.polygon(patch(quad, 0, 1, 0, 0.3 * ground), shade(colour, 0.8), part)
    if kind >= 2:  # shops
        canvas.polygons(_windows(quad, max(columns // 2, 1), 1, 0.8, 0.8, 0.04, ground * 0.85),
                        style.colour('shop', pick), part)
        canvas.polygon(patch(quad, 0.04, 0.96, ground * 0.8, ground * 0.98),
                       style.colour('awning', rng.random(), thing.tones[1]), part)
    else:
        canvas.polygons(_windows(quad, columns, 1, wide, tall * 0.8, 0.2 * ground, ground),
                        shade(glass, 0.9), part)
    door = rng.uniform(0.1, 0.8)
    canvas.polygon(patch(quad, door, door + 1.3 / length, 0, ground * 0.75),
                   style.colour('door', pick, thing.tones[0]), part)


def draw_wall(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A wall along the street with a coping and pillars."""
    part, sign = canvas.part(L.WALL, max(thing.near + 4, 3.)), float(np.sign(thing.width))
    colour = style.colour('wall', *thing.tones) * sunlight(scene, style, (-sign, 0, 0))
    street, end, top = _slab(thing)
    canvas.polygon(top, shade(colour, 1.15), part)
    canvas.polygon(end, shade(colour, 0.85), part)
    canvas.polygon(street, colour, part)
    edges = np.arange(0.25, thing.height - 0.2, 0.5) / thing.height
    rows = np.column_stack([edges, edges + 0.04 / thing.height])
    canvas.polygons(patches(street, np.tile([0., 1.], (len(rows), 1)), rows), shade(colour, .88), part)
    count = max(int(thing.length / 3), 2)
    canvas.polygons(_windows(street, count, 1, 0.1, 1., 0, 0.98), shade(colour, 1.1), part)
    canvas.polygon(patch(street, 0, 1, 0.93, 1), shade(colour, 1.25), part)


def _slab(thing: Thing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Street face, near end and top of a thin box along the street: (4, 3) each."""
    x0, x1 = thing.x, thing.x + thing.width
    z0, z1, y = thing.z - thing.length / 2, thing.z + thing.length / 2, thing.height
    street = np.array([[x0, 0, z0], [x0, 0, z1], [x0, y, z1], [x0, y, z0]])
    top = np.array([[x0, y, z0], [x0, y, z1], [x1, y, z1], [x1, y, z0]])
    return street, _upright(x0, x1, 0, y, z0), top


def draw_fence(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """Pickets and two rails in front of a dark background."""
    part = canvas.part(L.FENCE, max(thing.near + 4, 3.))
    colour = style.colour('fence', *thing.tones)
    street = _slab(thing)[0]
    canvas.polygon(patch(street, 0, 1, 0, 0.95), style.colour('fence_gap', *thing.tones[:2]), part)
    count = int(thing.length / 0.42)
    canvas.polygons(_windows(street, count, 1, 0.5, 1., 0, 1), colour, part)
    for low in (0.12, 0.78):
        canvas.polygon(patch(street, 0, 1, low, low + 0.1), shade(colour, 0.85), part)
