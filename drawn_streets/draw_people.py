"""People on foot, bicycles, motorcycles and their riders: flat figures that face the camera."""

import numpy as np

from . import labels as L
from .canvas import Canvas, shade
from .draw_poles import disc
from .scene import Scene, Thing
from .styles import Style


class Figure:
    """A flat drawing at a thing's place: u metres to the right, v metres up, turned by an angle."""

    def __init__(self, canvas: Canvas, thing: Thing, angle: float = 0., scale: float = 1.) -> None:
        self.canvas, self.thing, self.scale = canvas, thing, scale
        self._axes = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0]])  # u, v

    def at(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) of u and v -> world (..., 3)."""
        scaled = np.asarray(points, float) * self.scale
        return scaled @ self._axes + (self.thing.x, 0., self.thing.z)

    def shape(self, points: list, colour: np.ndarray, part: int) -> None:
        """Fill an outline of (u, v)."""
        self.canvas.polygon(self.at(np.array(points)), colour, part)

    def limb(self, points: list, width: float, colour: np.ndarray, part: int) -> None:
        """A chain of bars with round joints."""
        joints = self.at(np.array(points))
        width *= self.scale
        for a, b in zip(joints[:-1], joints[1:]):
            self.canvas.strip(a, b, width, colour, part)
        if len(joints) > 2:
            self.canvas.discs(joints[1:-1], np.full(len(joints) - 2, width / 2),
                              np.array([colour] * (len(joints) - 2)), part)

    def ring(self, u: float, v: float, radius: float, colour: np.ndarray, part: int, squeeze: float = 1.) -> None:
        """A disc; squeeze: its width / its height."""
        angle = np.arange(16) * 2 * np.pi / 16
        self.shape(np.column_stack([u + squeeze * radius * np.cos(angle), v + radius * np.sin(angle)]), colour, part)


def _shadow(canvas: Canvas, style: Style, thing: Thing, radius: float) -> None:
    """Darken the ground below the feet."""
    flat = disc(thing, 0, 0, radius)
    flat[:, 2] = thing.z + (flat[:, 1]) * 0.5
    flat[:, 1] = 0
    canvas.darken([flat], 0.62)


def draw_person(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A pedestrian; `heading` is the direction, -1 or 1."""
    _shadow(canvas, style, thing, 0.4)
    rng = np.random.default_rng(thing.seed)
    figure, part = Figure(canvas, thing, scale=thing.height / 1.75), canvas.part(L.PERSON, thing.z)
    way, stride = thing.heading, rng.uniform(0.05, 0.26)
    top = style.colour('clothes', *thing.tones)
    trousers = style.colour('trousers', thing.tones[1], thing.tones[2])
    skin, hair = style.colour('skin', rng.random()), style.colour('hair', rng.random())
    for foot, tone in ((-stride, 0.8), (stride, 1.)):
        figure.limb([(0, 0.88), (foot * 0.5 + 0.05 * way, 0.47), (foot, 0.06)], 0.17, shade(trousers, tone), part)
        figure.limb([(foot - 0.05 * way, 0.04), (foot + 0.16 * way, 0.04)], 0.09, np.array([30., 28, 28]), part)
    figure.limb([(0, 1.38), (stride + .12, 1.1), (stride + 0.08, 0.86)], 0.11, shade(top, 0.75), part)
    if rng.random() < 0.3:  # a coat or a skirt
        figure.shape([(-0.25, 0.62), (0.25, 0.62), (0.19, 1.0), (-0.19, 1.0)], shade(top, .92), part)
    figure.shape([(-0.18, 0.82), (0.18, 0.82), (0.25, 1.38), (0.13, 1.47), (-0.13, 1.47), (-0.25, 1.38)], top, part)
    figure.limb([(-0.2, 1.38), (-stride - .1, 1.1), (-stride - 0.04, 0.88)], 0.11, shade(top, 0.88), part)
    if rng.random() < 0.35:
        bag = style.colour('awning', rng.random())
        figure.shape([(-.34 * way, 1.0), (-.14 * way, 1.0), (-.14 * way, 1.4), (-.34 * way, 1.4)], bag, part)
    figure.limb([(0, 1.42), (0, 1.55)], 0.1, skin, part)
    figure.ring(0.02 * way, 1.61, 0.125, skin, part, 0.88)
    figure.ring(-0.02 * way, 1.66, 0.115, hair, part, 1.)


def _rear(thing: Thing) -> tuple[bool, float]:
    """Whether a two-wheeler is viewed from behind or in front, and the angle by which its plane is turned."""
    along = np.cos(thing.heading)
    turn = np.arcsin(np.clip(along, -1, 1)) * (1 if np.sin(thing.heading) >= 0 else -1)
    return abs(along) > 0.8, float(turn)


def _dress(style: Style, thing: Thing) -> tuple[np.ndarray, ...]:
    """Colours of a rider: top, trousers, skin, helmet."""
    rng = np.random.default_rng(thing.seed)
    return (style.colour('clothes', *rng.random(3)), style.colour('trousers', *rng.random(2)),
            style.colour('skin', rng.random()), style.colour('helmet', *rng.random(2)))


def draw_bicycle(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A bicycle, from the side or from behind, with its rider if it has one."""
    _shadow(canvas, style, thing, 0.6)
    part, paint = canvas.part(L.BICYCLE, thing.z), style.colour('bicycle', *thing.tones)
    rear, turn = _rear(thing)
    tyre, spokes = style.colour('tyre'), (158, 160, 162)
    if rear:
        figure = Figure(canvas, thing)
        figure.ring(0, 0.36, 0.36, tyre, part, 0.42)
        figure.limb([(0, 0.3), (0, 0.9)], 0.14, paint, part)
        figure.limb([(-0.34, 1.02), (0.34, 1.02)], 0.09, tyre, part)
        if thing.ridden:
            _rider_behind(figure, style, thing)
        else:
            figure.limb([(-0.12, 0.93), (0.12, 0.93)], 0.1, tyre, part)
        return
    figure = Figure(canvas, thing, turn)
    for u in (-0.54, 0.54):
        figure.ring(u, 0.36, 0.36, tyre, part)
        figure.ring(u, 0.36, 0.26, spokes, part)
        figure.ring(u, 0.36, 0.07, tyre, part)
    for chain in ([(-0.54, 0.36), (-0.2, 0.82), (0.4, 0.84), (0.54, 0.36)],
                  [(-0.54, 0.36), (-0.02, 0.34), (0.4, 0.84)], [(-0.02, 0.34), (-0.22, 0.92)]):
        figure.limb(chain, 0.085, paint, part)
    figure.limb([(-0.34, 0.95), (-0.1, 0.95)], 0.09, tyre, part)
    figure.limb([(0.4, 0.84), (0.37, 1.05), (0.5, 1.08)], 0.07, tyre, part)
    if thing.ridden:
        _rider_beside(figure, style, thing, seat=(-0.2, 0.95), bars=(0.42, 1.06), foot=(0.02, 0.2))


def draw_motorcycle(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A motorcycle, from the side or from behind, with its rider if it has one."""
    _shadow(canvas, style, thing, 0.7)
    part, paint = canvas.part(L.MOTORCYCLE, thing.z), style.colour('motorcycle', *thing.tones)
    rear, turn = _rear(thing)
    tyre = style.colour('tyre')
    if rear:
        figure = Figure(canvas, thing)
        figure.ring(0, 0.34, 0.34, tyre, part, 0.5)
        figure.shape([(-.2, .4), (.2, .4), (.26, .82), (.14, .95), (-.14, .95), (-.26, .82)], paint, part)
        ahead = np.cos(thing.heading) > 0
        lamp = np.array([220., 30, 30]) if ahead else np.array([252., 248, 225])
        figure.ring(0, 0.74, 0.1, lamp, part)
        figure.limb([(-0.42, 1.06), (0.42, 1.06)], 0.1, tyre, part)
        if thing.ridden:
            _rider_behind(figure, style, thing)
        return
    figure = Figure(canvas, thing, turn)
    for u in (-0.68, 0.68):
        figure.ring(u, 0.33, 0.33, tyre, part)
        figure.ring(u, 0.33, 0.16, np.array([150., 150, 152]), part)
    figure.shape([(-0.45, 0.3), (0.36, 0.3), (0.42, 0.6), (-0.4, 0.6)], np.array([62., 62, 66]), part)
    figure.limb([(-0.75, 0.36), (0.0, 0.28)], 0.1, np.array([165., 165, 168]), part)
    figure.shape([(-0.9, 0.72), (-0.3, 0.58), (0.42, 0.6), (0.45, 0.88), (0.1, 0.96), (-0.1, 0.8),
                  (-0.86, 0.84)], paint, part)
    figure.shape([(-0.8, 0.8), (-0.08, 0.78), (-0.12, 0.88), (-0.78, 0.9)], tyre, part)
    figure.limb([(0.68, 0.33), (0.42, 1.0), (0.3, 1.1)], 0.1, np.array([120., 120, 124]), part)
    figure.ring(0.52, 0.86, 0.11, np.array([250., 246, 220]), part)
    if thing.ridden:
        _rider_beside(figure, style, thing, seat=(-0.28, 0.9), bars=(0.34, 1.1), foot=(0.08, 0.36))


def _rider_beside(figure: Figure, style: Style, thing: Thing, seat: tuple[float, float],
                  bars: tuple[float, float], foot: tuple[float, float]) -> None:
    """A rider from the side, on the seat, hands on the bars."""
    part = figure.canvas.part(L.RIDER, thing.z)
    top, trousers, skin, helmet = _dress(style, thing)
    (u, v), shoulder = seat, (seat[0] + 0.28, seat[1] + 0.52)
    figure.limb([(u, v), (u + 0.38, v - 0.2), foot], 0.17, trousers, part)
    figure.limb([(foot[0] - 0.08, foot[1] - 0.04), (foot[0] + 0.15, foot[1] - 0.04)], 0.1,
                np.array([30., 30, 30]), part)
    figure.limb([(u, v + 0.02), shoulder], 0.32, top, part)
    figure.limb([shoulder, (shoulder[0] + .12, shoulder[1] - .3), bars], 0.11, shade(top, .8), part)
    head = shoulder[0] + 0.1, shoulder[1] + 0.25
    figure.limb([shoulder, head], 0.12, skin, part)
    figure.ring(*head, 0.13, skin, part)
    figure.ring(head[0] - 0.02, head[1] + 0.06, 0.135, helmet, part)


def _rider_behind(figure: Figure, style: Style, thing: Thing) -> None:
    """A rider from behind or in front."""
    part = figure.canvas.part(L.RIDER, thing.z)
    top, trousers, skin, helmet = _dress(style, thing)
    for way in (-1, 1):
        figure.limb([(0.08 * way, 0.98), (0.2 * way, 0.7), (0.17 * way, 0.3)], 0.16, trousers, part)
        figure.limb([(0.22 * way, 1.45), (0.38 * way, 1.22), (0.33 * way, 1.04)], 0.11, shade(top, 0.8), part)
    figure.shape([(-.19, .88), (.19, .88), (.26, 1.42), (.14, 1.54), (-.14, 1.54), (-.26, 1.42)], top, part)
    figure.ring(0, 1.66, 0.125, skin, part)
    figure.ring(0, 1.7, 0.135, helmet, part)
