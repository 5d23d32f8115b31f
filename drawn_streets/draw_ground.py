"""Sky, skyline, and the ground with its markings."""

import cv2
import numpy as np

from . import labels as L
from .canvas import Canvas, shade, upright, windows
from .scene import JUNCTION_WIDTH, LANE_WIDTH, Scene, Side
from .styles import Style

_END = 400.  # metres to where the ground is drawn


def draw_sky(canvas: Canvas, style: Style, rng: np.random.Generator) -> None:
    """A gradient with clouds behind everything, at a third of the resolution since it is smooth."""
    height, width = canvas.pixels.shape[:2]
    camera = canvas.camera
    horizon = max(0.5 - camera.focal * np.tan(camera.pitch), 0.02)
    rows, columns = max(int(horizon * height / 3), 2), width // 3
    pick, tone = rng.random(2)
    top, low = (np.array(style.colour(name, pick, tone), np.float32) for name in ('sky_top', 'sky_low'))
    down = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    sky = np.broadcast_to(top + (low - top) * down, (rows, columns, 3))
    field = _cloud_field(rows, columns, int(rng.integers(2 ** 31)))
    cover = rng.uniform(*style.clouds)
    alpha = np.clip((field + cover - 0.55) * 2.2, 0, 1) * np.clip(1.3 - 1.1 * down, 0, 1) * 0.9
    cloud = np.array(style.colour('cloud'), np.float32) * (1 - 0.12 * np.clip(field, 0, 1))
    sky = (sky + (cloud - sky) * alpha).astype(np.uint8)
    canvas.pixels[..., :3] = low
    full = cv2.resize(sky, (width, int(horizon * height) + 1))[:height]
    canvas.pixels[:len(full), :, :3] = full
    canvas.pixels[..., 3] = canvas.part(L.SKY, 1000.)


def _cloud_field(rows: int, columns: int, seed: int) -> np.ndarray:
    """Smooth noise of four sizes, stretched along the horizon: (rows, columns, 1) around 0."""
    noise, field = np.random.default_rng(seed), np.zeros((rows, columns), np.float32)
    for octave in range(4):
        grid = noise.random((3 * 2 ** octave, 4 * 2 ** octave), np.float32) - 0.5
        field += cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC) / 1.6 ** octave
    return field[..., None]


def draw_skyline(canvas: Canvas, style: Style, rng: np.random.Generator) -> None:
    """The end of the street: distant houses, or a wooded hill."""
    z = 130.
    if rng.random() < 0.5:
        part = canvas.part(L.VEGETATION, z)
        base = style.colour('vegetation', *rng.random(2))
        count = 60
        centres = np.column_stack([np.linspace(-170, 170, count), rng.uniform(2, 11, count), np.full(count, z)])
        canvas.polygon(upright(-200, 200, 0, 7, z), base, part)
        canvas.discs(centres, rng.uniform(4, 8, count), np.array(base) * rng.uniform(0.85, 1.15, (count, 1)), part)
        return
    part, x = canvas.part(L.BUILDING, z), -180.
    while x < 180:
        width, height = rng.uniform(10, 22), rng.uniform(8, 22)
        colour = style.colour('building', *rng.random(3))
        wall = upright(x, x + width, 0, height, z)
        canvas.polygon(wall, colour, part)
        grid = windows(wall, max(int(width / 4), 2), max(int(height / 4), 2), 0.5, 0.5, 0., 1.)
        canvas.polygons(grid, shade(colour, 0.75), part)
        x += width


def _flat(x0: float, x1: float, z0: float, z1: float) -> np.ndarray:
    """A rectangle on the ground: (4, 3)."""
    return np.array([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]])


def draw_ground(canvas: Canvas, scene: Scene, style: Style, rng: np.random.Generator, grass: bool) -> None:
    """Grass or paving everywhere, then sidewalks, kerbs, the road with markings, and rails."""
    light = style.brightness(scene, (0, 1, 0))
    tones = rng.random((4, 2))
    paving = shade(style.colour('sidewalk', *tones[0]), light)
    meadow = shade(style.colour('terrain', *tones[1]), light)
    asphalt = shade(style.colour('road', *tones[2]), light)
    walk, road = canvas.part(L.SIDEWALK), canvas.part(L.ROAD)
    canvas.polygon(_flat(-300, 300, -20, _END), *(
        (meadow, canvas.part(L.TERRAIN)) if grass else (shade(paving, 0.95), walk)))
    if grass:
        _tufts(canvas, meadow, rng)
    spans = [(-20., _END)]
    if scene.road.junction is not None:
        spans = [(-20., scene.road.junction), (scene.road.junction + JUNCTION_WIDTH, _END)]
        start, end = spans[0][1], spans[1][0]
        canvas.polygon(_flat(-300, 300, start - 2.4, end + 2.4), paving, walk)
        canvas.polygon(_flat(-300, 300, start, end), asphalt, road)
    for side in scene.road.sides:
        for z0, z1 in spans:
            _sidewalk(canvas, side, z0, z1, paving, shade(style.colour('kerb'), light), walk)
    canvas.polygon(_flat(scene.road.sides[0].kerb, scene.road.sides[1].kerb, -20, _END), asphalt, road)
    _wear(canvas, scene, asphalt, road, rng)
    _markings(canvas, scene, shade(style.colour('marking', 0.5, tones[3, 0]), light), road, rng)
    if scene.road.rail is not None:
        steel = shade(style.colour('rail'), light)
        canvas.polygon(_flat(scene.road.rail - 1.25, scene.road.rail + 1.25, 1, _END), shade(asphalt, 0.88), road)
        for x in (-0.75, 0.65):
            canvas.polygon(_flat(scene.road.rail + x, scene.road.rail + x + 0.13, 1, _END), steel, road)


def draw_shadows(canvas: Canvas, scene: Scene, style: Style, rng: np.random.Generator) -> None:
    """The shadows of houses on the ground, where the sun is on the other side of the street."""
    strength = rng.uniform(*style.shadow)
    east, up, ahead = scene.to_sun
    shapes = []
    for house in scene.rows:
        if house.kind == 'building' and house.width * east > 0 and strength > 0:
            reach_x, reach_z = -east / up * house.height, -ahead / up * house.height
            z0, z1 = house.z - house.length / 2, house.z + house.length / 2
            shapes.append(np.array([[house.x, 0, z0], [house.x, 0, z1],
                                    [house.x + reach_x, 0, z1 + reach_z],
                                    [house.x + reach_x, 0, z0 + reach_z]]))
    canvas.darken(shapes, 1 - strength)


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
        canvas.polygons(np.stack([_flat(side.kerb, far, z, z + 0.05) for z in joints]), shade(paving, 0.88), part)
    canvas.polygon(_flat(side.kerb, side.kerb + side.sign * 0.28, z0, z1), kerb, part)


def _wear(canvas: Canvas, scene: Scene, asphalt: np.ndarray, part: int, rng: np.random.Generator) -> None:
    """Wheel tracks, mended patches and manholes."""
    for x in scene.road.lanes:
        for track in (-0.8, 0.8):
            canvas.polygon(_flat(x + track - 0.25, x + track + 0.25, 1, _END), shade(asphalt, 0.95), part)
    for _ in range(int(rng.integers(0, 4))):
        x, z = rng.uniform(scene.road.lanes[0], scene.road.lanes[-1]), rng.uniform(4, 20)
        canvas.polygon(_flat(x - rng.uniform(.4, 1), x + rng.uniform(.4, 1), z,
                             z + rng.uniform(1, 5)), shade(asphalt, rng.uniform(0.86, 1.1)), part)


def _markings(canvas: Canvas, scene: Scene, paint: np.ndarray, part: int, rng: np.random.Generator) -> None:
    """Dashes between the lanes, lines at the edges, a zebra crossing before the junction."""
    stop = scene.road.junction - 4.6 if scene.road.junction is not None else 90.
    dashes = np.arange(1. + rng.uniform(0, 3), stop - 2, 5.)
    for left in scene.road.lanes[:-1]:
        x = left + LANE_WIDTH / 2
        points = [_flat(x - 0.08, x + 0.08, z, z + 2.4) for z in dashes]
        if points:
            canvas.polygons(np.stack(points), paint, part)
    if rng.random() < 0.6:
        for x in (scene.road.lanes[0] - LANE_WIDTH / 2, scene.road.lanes[-1] + LANE_WIDTH / 2):
            canvas.polygon(_flat(x - 0.06, x + 0.06, 1, stop), paint, part)
    if scene.road.junction is not None:
        bars = np.arange(scene.road.sides[0].kerb + 0.4, scene.road.sides[1].kerb - 0.5, 1.)
        canvas.polygons(np.stack([_flat(x, x + 0.5, stop + 0.6, stop + 3.4) for x in bars]), paint, part)
