"""Image number k of a split of a set: scene, drawing, photograph."""

import cv2
import numpy as np

from . import labels as L
from .canvas import Canvas
from .draw_people import draw_bicycle, draw_motorcycle, draw_person
from .draw_poles import draw_bin, draw_hedge, draw_lamp, draw_light, draw_sign, draw_tree
from .draw_street import (draw_building, draw_fence, draw_ground, draw_sky, draw_skyline,
                          draw_wall)
from .draw_vehicles import draw_bus, draw_car, draw_train, draw_truck
from .effects import develop
from .scene import Scene, sample_scene
from .styles import DOMAINS, Style

DRAW = dict(building=draw_building, wall=draw_wall, fence=draw_fence, hedge=draw_hedge,
            tree=draw_tree, lamp=draw_lamp, light=draw_light, sign=draw_sign, bin=draw_bin,
            person=draw_person, bicycle=draw_bicycle, motorcycle=draw_motorcycle, car=draw_car,
            truck=draw_truck, bus=draw_bus, train=draw_train)
SPLITS = ('train', 'val')


def default_size(name: str, height: int) -> tuple[int, int]:
    """(width, height) of a set's images when Cityscapes is drawn with `height` rows.

    The proportions are those that the pipelines of the real sets resize to.
    """
    scale = height / DOMAINS['cityscapes'].native[1]
    width, rows = DOMAINS[name].native
    return int(width * scale), int(rows * scale)


def scene_of(name: str, split: str, index: int, seed: int) -> Scene:
    """The layout of one image; it depends on nothing but the arguments."""
    key = (seed, list(DOMAINS).index(name), SPLITS.index(split), index)
    return sample_scene(np.random.default_rng(key), DOMAINS[name].layout)


def render(name: str, split: str, index: int, seed: int,
           size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image of a set.

    Returns the picture (H, W, 3) uint8 RGB and its label (H, W) uint8 of raw Cityscapes ids.
    """
    scene = scene_of(name, split, index, seed)
    style = DOMAINS[name].style
    canvas = paint(scene, style, size, grass=DOMAINS[name].layout.terrain > 0)
    image, label, depth = canvas.finish()
    return develop(image, label, depth, style, np.random.default_rng((scene.seed, 1))), label


def paint(scene: Scene, style: Style, size: tuple[int, int], grass: bool) -> Canvas:
    """Draw a scene from far to near. grass: is there terrain beside the street, or paving?"""
    canvas = Canvas(scene.camera, size)
    rng = np.random.default_rng(scene.seed)
    draw_sky(canvas, style, rng)
    draw_ground(canvas, scene, style, rng, grass)
    draw_skyline(canvas, style, rng)
    for thing in (*scene.rows, *scene.things):
        DRAW[thing.kind](canvas, scene, style, thing)
    if scene.hood:
        _hood(canvas, style)
    return canvas


def _hood(canvas: Canvas, style: Style) -> None:
    """The ego vehicle's bonnet at the lower edge of the picture."""
    height, width = canvas.pixels.shape[:2]
    part, colour = canvas.part(L.EGO, 1.), style.colour('hood')
    for inset, factor in ((0., 0.8), (0.018, 1.1), (0.04, 1.)):
        centre = width // 2, int(height * (1.14 + inset))
        axes = int(width * (0.52 - inset)), int(height * 0.22)
        cv2.ellipse(canvas.pixels, centre, axes, 0, 0, 360, (*(colour * factor).tolist(), part), -1)
