"""Image k of a split of a set: scene, drawing, photograph."""

import cv2
import numpy as np

from . import labels as L
from .canvas import Canvas, shade
from .draw_ground import draw_ground, draw_shadows, draw_sky, draw_skyline
from .draw_people import draw_bicycle, draw_motorcycle, draw_person
from .draw_poles import draw_bin, draw_hedge, draw_lamp, draw_light, draw_sign, draw_tree
from .draw_street import draw_building, draw_fence, draw_wall
from .draw_vehicles import draw_bus, draw_car, draw_train, draw_truck
from .effects import develop
from .scene import Scene, Thing
from .street import sample_scene
from .styles import DOMAINS, Style

DRAW = dict(building=draw_building, wall=draw_wall, fence=draw_fence, hedge=draw_hedge,
            tree=draw_tree, lamp=draw_lamp, light=draw_light, sign=draw_sign, bin=draw_bin,
            person=draw_person, bicycle=draw_bicycle, motorcycle=draw_motorcycle, car=draw_car,
            truck=draw_truck, bus=draw_bus, train=draw_train)
SPLITS = ('train', 'val')


def default_size(name: str, height: int) -> tuple[int, int]:
    """(width, height) of a set's images where Cityscapes has `height` rows, in the proportions of the real sets."""
    scale = height / DOMAINS['cityscapes'].native[1]
    width, rows = DOMAINS[name].native
    return int(width * scale), int(rows * scale)


def scene_of(name: str, split: str, index: int, seed: int) -> Scene:
    """The scene of an image, a function of the arguments."""
    key = (seed, list(DOMAINS).index(name), SPLITS.index(split), index)
    return sample_scene(np.random.default_rng(key), DOMAINS[name].layout)


def render(name: str, split: str, index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image of a set: (H, W, 3) uint8 RGB, and its label (H, W) uint8 of raw Cityscapes ids."""
    scene = scene_of(name, split, index, seed)
    style = DOMAINS[name].style
    canvas = paint(scene, style, size, grass=DOMAINS[name].layout.terrain > 0)
    image, label, depth = canvas.finish()
    return develop(image, label, depth, style, np.random.default_rng((scene.seed, 1))), label


def paint(scene: Scene, style: Style, size: tuple[int, int], grass: bool) -> Canvas:
    """Draw a scene from far to near, with grass or paving beside the street."""
    canvas = Canvas(scene.camera, size)
    rng = np.random.default_rng(scene.seed)
    draw_sky(canvas, style, rng)
    draw_ground(canvas, scene, style, rng, grass)
    draw_shadows(canvas, scene, style, rng)
    draw_skyline(canvas, style, rng)
    for thing in (*scene.rows, *scene.things):
        if canvas.may_show(_corners(thing)):
            DRAW[thing.kind](canvas, scene, style, thing)
    if scene.hood:
        _hood(canvas, style)
    return canvas


def _corners(thing: Thing) -> np.ndarray:
    """Corners (8, 3) of a box that is at least as large as a thing."""
    wide = thing.kind in ('building', 'light', 'lamp')
    reach = max(abs(thing.width), 3.) if wide else abs(thing.width) + 0.4
    cos, sin = abs(np.cos(thing.heading)), abs(np.sin(thing.heading))
    if thing.kind in ('light', 'lamp', 'person'):  # their heading is not an angle
        cos, sin = 1., 0.
    half = np.array([reach * cos + thing.length * sin / 2, 0, thing.length * cos / 2 + thing.width * sin / 2])
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (0, 1) for z in (-1, 1)])
    return np.array([thing.x, 0, thing.z]) + signs * half + signs * (0, thing.height, 0)


def _hood(canvas: Canvas, style: Style) -> None:
    """The ego vehicle's bonnet at the lower edge of the picture."""
    height, width = canvas.pixels.shape[:2]
    part, colour = canvas.part(L.EGO, 1.), style.colour('hood')
    for inset, factor in ((0., 0.8), (0.018, 1.1), (0.04, 1.)):
        centre = width // 2, int(height * (1.14 + inset))
        axes = int(width * (0.52 - inset)), int(height * 0.22)
        cv2.ellipse(canvas.pixels, centre, axes, 0, 0, 360, (*shade(colour, factor), part), -1)
