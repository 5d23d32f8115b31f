"""The parts of vehicles: shells, wheels, lamps and windows, placed in true perspective."""

import numpy as np

from . import labels as L
from .canvas import Canvas, Colour, blend, patch, shade
from .scene import Scene, Thing
from .shapes import sunlight
from .styles import Style


class Body:
    """A vehicle's coordinates: (along, up, across) in metres, to the world."""

    def __init__(self, canvas: Canvas, scene: Scene, thing: Thing) -> None:
        self.canvas, self.scene, self.thing = canvas, scene, thing
        sin, cos = np.sin(thing.heading), np.cos(thing.heading)
        self._axes = np.array([[sin, 0, cos], [0, 1, 0], [cos, 0, -sin]])  # along, up, across
        self._origin = np.array([thing.x, 0., thing.z])
        self._centre = (thing.x, thing.height / 2, thing.z)
        self._eye = canvas.camera.position.tolist()

    def world(self, local: np.ndarray) -> np.ndarray:
        """(..., 3) of along, up, across -> (..., 3) of x, y, z."""
        return local @ self._axes + self._origin

    def faces_camera(self, face: np.ndarray) -> tuple[bool, tuple[float, float, float]]:
        """Is the outer side of a flat face (N, 3) visible? And its normal."""
        third = len(face) // 3  # neighbours may lie on one line
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = face[[0, third, 2 * len(face) // 3]].tolist()
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        size = max((nx * nx + ny * ny + nz * nz) ** 0.5, 1e-9)
        ox, oy, oz = self._centre
        if nx * (bx - ox) + ny * (by - oy) + nz * (bz - oz) < 0:
            size = -size
        nx, ny, nz = nx / size, ny / size, nz / size
        ex, ey, ez = self._eye
        return nx * (ex - bx) + ny * (ey - by) + nz * (ez - bz) > 0, (nx, ny, nz)


def span(thing: Thing, start: float, end: float) -> tuple[float, float]:
    """From shares of the length, 0 is the rear, to metres along."""
    return (start - 0.5) * thing.length, (end - 0.5) * thing.length


def shell(body: Body, style: Style, profile: tuple, stretch: tuple[float, float], height: float,
           colour: Colour, part: int, lean: float = 0.) -> None:
    """Pull a profile across the width and paint the faces that the camera sees.

    stretch: where the shell starts and ends along the vehicle. lean: how much narrower, as a share,
    the roof is than the body.
    """
    points, glass = np.array(profile[0]), profile[1]
    along = stretch[0] + points[:, 0] * (stretch[1] - stretch[0])
    up = points[:, 1] * height
    half = body.thing.width / 2 * (1 - lean * np.clip((points[:, 1] - 0.6) / 0.4, 0, 1))
    left = body.world(np.column_stack([along, up, -half]))
    right = body.world(np.column_stack([along, up, half]))
    dark = style.colour('glass', *body.thing.tones[:2])
    for i in range(len(points) - 1):
        strip = np.array([left[i], right[i], right[i + 1], left[i + 1]])
        visible, normal = body.faces_camera(strip)
        if visible:
            body.canvas.polygon(strip, shade(colour, sunlight(body.scene, style, normal)), part)
            if i in glass:
                pane = blend(dark, (255, 255, 255), 0.18 * max(normal[1], 0))
                body.canvas.polygon(patch(strip, .07, .93, .08, .92), pane, part)
    for outline in (left, right):
        visible, normal = body.faces_camera(outline)
        if visible:
            light = sunlight(body.scene, style, normal)
            body.canvas.polygon(outline, shade(colour, light), part)


def sides(body: Body, lean: float = 0.) -> list[tuple[float, tuple[float, float, float]]]:
    """The long sides that the camera sees, as (sign of across, normal)."""
    half, length, height = body.thing.width / 2, body.thing.length / 2, body.thing.height
    found = []
    for sign in (-1., 1.):
        quad = body.world(np.array([[-length, 0, sign * half], [length, 0, sign * half],
                                    [length, height, sign * half]]))
        visible, normal = body.faces_camera(quad)
        if visible:
            found.append((sign, normal))
    return found


def wheels(body: Body, style: Style, places: tuple[float, ...], radius: float,
            part: int) -> None:
    """Wheels on the visible side, at these places along the vehicle."""
    if body.thing.near > 35:
        return
    tyre, half = style.colour('tyre'), body.thing.width / 2
    angle = np.arange(14) * 2 * np.pi / 14
    for sign, _ in sides(body):
        for along in places:
            for size, colour in ((1., tyre), (0.55, (150, 150, 152)), (0.2, (70, 70, 72))):
                rim = np.column_stack([along + size * radius * np.cos(angle),
                                       radius * (1 + size * np.sin(angle)),
                                       np.full(14, sign * (half + 0.01))])
                body.canvas.polygon(body.world(rim), colour, part)


def under(body: Body, style: Style, part: int, clearance: float = 0.3) -> None:
    """The dark below the body with the tyres, and the shadow on the ground."""
    half, length = body.thing.width / 2, body.thing.length / 2
    road = body.canvas.part(L.ROAD)
    ground = np.array([[-length, 0, -half - .1], [length, 0, -half - .1], [length, 0, half + .1],
                       [-length, 0, half + .1]])
    body.canvas.polygon(body.world(ground), shade(style.colour('road'), 0.35), road)
    tyre = style.colour('tyre')
    for along in (-length * 0.96, length * 0.96):
        for across in (-half * 0.78, half * 0.78):
            quad = np.array([[along, 0, across - 0.12], [along, 0, across + 0.12],
                             [along, clearance, across + 0.12], [along, clearance, across - 0.12]])
            body.canvas.polygon(body.world(quad), tyre, part)


def ends(body: Body, style: Style, part: int, low: float, high: float, plate: bool = True) -> None:
    """Lamps and number plate on the end that the camera sees: red behind, white in front."""
    half, length = body.thing.width / 2, body.thing.length / 2 + 0.01
    for along, lamp in ((-length, (205, 30, 30)), (length, (250, 246, 220))):
        quad = body.world(np.array([[along, low, -half], [along, low, half],
                                    [along, high, half], [along, high, -half]]))
        if body.faces_camera(quad)[0]:
            for u in (0.04, 0.78):
                body.canvas.polygon(patch(quad, u, u + 0.18, 0.1, 0.95), lamp, part)
            if plate:
                body.canvas.polygon(patch(quad, 0.36, 0.64, -0.8, -0.2), (235, 235, 225), part)
                body.canvas.polygon(patch(quad, 0., 1., -1.6, -1.0), (40, 40, 42), part)


def side_panes(body: Body, style: Style, part: int, spans: np.ndarray, low: float, high: float,
                lean: float = 0.) -> None:
    """Side windows: spans (K, 2) along in metres, low and high in metres."""
    half, dark = body.thing.width / 2 + 0.01, style.colour('glass', *body.thing.tones[:2])
    for sign, normal in sides(body):
        panes = np.array([[[a, low, sign * half], [b, low, sign * half],
                           [b, high, sign * half * (1 - lean)], [a, high, sign * half * (1 - lean)]]
                          for a, b in spans])
        body.canvas.polygons(body.world(panes), shade(dark, 0.9 + 0.25 * abs(normal[0])), part)
