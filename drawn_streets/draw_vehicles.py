"""Cars, trucks, buses and trains: side profiles extruded across their width, with wheels, lamps and windows."""

import numpy as np

from . import labels as L
from .canvas import Canvas, Colour, blend, patch, shade
from .scene import Scene, Thing
from .styles import Style

# Profiles run from the rear bumper over the roof to the front bumper: (along, up) as shares of
# length and height; then the strips between the points that are glass, by their first point.
_CARS = (
    (((0, .16), (0, .58), (.13, .66), (.27, 1.), (.60, 1.), (.74, .64), (.98, .54), (1, .16)),
     (2, 4)),  # saloon
    (((0, .16), (0, .60), (.05, .70), (.13, 1.), (.58, 1.), (.74, .66), (.97, .55), (1, .16)),
     (2, 4)),  # hatchback
    (((0, .18), (0, .62), (.03, .70), (.06, 1.), (.64, 1.), (.80, .66), (.98, .58), (1, .18)),
     (2, 4)),  # van
)
_BOX = (((0, .1), (0, .42), (0, .9), (.01, 1.), (.985, 1.), (1, .86), (1, .42), (1, .1)), (1, 5))
_CAB = (((0, .14), (0, .95), (.04, 1.), (.8, 1.), (1, .62), (1, .4), (1, .14)), (3,))


class Body:
    """A vehicle in coordinates of its own: (along, up, across) in metres."""

    def __init__(self, canvas: Canvas, scene: Scene, thing: Thing) -> None:
        self.canvas, self.scene, self.thing = canvas, scene, thing
        sin, cos = np.sin(thing.heading), np.cos(thing.heading)
        self._axes = np.array([[sin, 0, cos], [0, 1, 0], [cos, 0, -sin]])  # along, up, across
        self._origin = np.array([thing.x, 0., thing.z])
        self._centre = (thing.x, thing.height / 2, thing.z)
        self._eye = canvas.camera.position.tolist()

    def world(self, local: np.ndarray) -> np.ndarray:
        """World coordinates (..., 3) of points (..., 3) along, up, across."""
        return local @ self._axes + self._origin

    def faces_camera(self, face: np.ndarray) -> tuple[bool, tuple[float, float, float]]:
        """Whether the outer side of a flat face (N, 3) is visible, and its normal."""
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


    def across(self, along: float, low: float, high: float, middle: float = 0.,
               half: float | None = None) -> np.ndarray:
        """An upright quad across the vehicle or a part of its width, between two heights: (4, 3) in the world."""
        half = self.thing.width / 2 if half is None else half
        places = zip((low, low, high, high), (middle - half, middle + half, middle + half, middle - half))
        return self.world(np.array([[along, up, across] for up, across in places]))

    def along(self, start: float, end: float, low: float, high: float, across: float) -> np.ndarray:
        """An upright quad along the vehicle, between two heights: (4, 3) in the world."""
        places = zip((start, end, end, start), (low, low, high, high))
        return self.world(np.array([[along, up, across] for along, up in places]))


def span(thing: Thing, start: float, end: float) -> tuple[float, float]:
    """Metres along, from shares of the length that begin at the rear."""
    return (start - 0.5) * thing.length, (end - 0.5) * thing.length


def shell(body: Body, style: Style, profile: tuple, stretch: tuple[float, float], height: float,
           colour: Colour, part: int, lean: float = 0.) -> None:
    """Extrude a profile across the width, between two places along the vehicle, and paint its visible faces.

    lean: the share by which the roof is narrower than the body.
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
            body.canvas.polygon(strip, shade(colour, style.brightness(body.scene, normal)), part)
            if i in glass:
                pane = blend(dark, (255, 255, 255), 0.18 * max(normal[1], 0))
                body.canvas.polygon(patch(strip, .07, .93, .08, .92), pane, part)
    for outline in (left, right):
        visible, normal = body.faces_camera(outline)
        if visible:
            body.canvas.polygon(outline, shade(colour, style.brightness(body.scene, normal)), part)


def sides(body: Body) -> list[tuple[float, tuple[float, float, float]]]:
    """The visible long sides, as (sign of across, normal)."""
    half, length, height = body.thing.width / 2, body.thing.length / 2, body.thing.height
    visible_sides = []
    for sign in (-1., 1.):
        visible, normal = body.faces_camera(body.along(-length, length, 0, height, sign * half))
        if visible:
            visible_sides.append((sign, normal))
    return visible_sides


def wheels(body: Body, style: Style, places: tuple[float, ...], radius: float, part: int) -> None:
    """Draw wheels on the visible side, at these places along the vehicle."""
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
    """Draw the shadow on the ground, and the tyres below the body."""
    half, length = body.thing.width / 2, body.thing.length / 2
    road = body.canvas.part(L.ROAD)
    ground = np.array([[-length, 0, -half - .1], [length, 0, -half - .1], [length, 0, half + .1],
                       [-length, 0, half + .1]])
    body.canvas.polygon(body.world(ground), shade(style.colour('road'), 0.35), road)
    tyre = style.colour('tyre')
    for along in (-length * 0.96, length * 0.96):
        for across in (-half * 0.78, half * 0.78):
            body.canvas.polygon(body.across(along, 0, clearance, across, 0.12), tyre, part)


def ends(body: Body, style: Style, part: int, low: float, high: float, plate: bool = True) -> None:
    """Draw lamps (red behind, white in front) and number plate on the visible end."""
    length = body.thing.length / 2 + 0.01
    for along, lamp in ((-length, (205, 30, 30)), (length, (250, 246, 220))):
        quad = body.across(along, low, high)
        if body.faces_camera(quad)[0]:
            for u in (0.04, 0.78):
                body.canvas.polygon(patch(quad, u, u + 0.18, 0.1, 0.95), lamp, part)
            if plate:
                body.canvas.polygon(patch(quad, 0.36, 0.64, -0.8, -0.2), (235, 235, 225), part)
                body.canvas.polygon(patch(quad, 0., 1., -1.6, -1.0), (40, 40, 42), part)


def side_panes(body: Body, style: Style, part: int, spans: np.ndarray, low: float, high: float,
                lean: float = 0.) -> None:
    """Draw side windows with extents (K, 2) along, between two heights, in metres."""
    half, dark = body.thing.width / 2 + 0.01, style.colour('glass', *body.thing.tones[:2])
    for sign, normal in sides(body):
        panes = np.array([[[a, low, sign * half], [b, low, sign * half],
                           [b, high, sign * half * (1 - lean)], [a, high, sign * half * (1 - lean)]]
                          for a, b in spans])
        body.canvas.polygons(body.world(panes), shade(dark, 0.9 + 0.25 * abs(normal[0])), part)


def draw_car(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A saloon, a hatchback or a van."""
    body, part = Body(canvas, scene, thing), canvas.part(L.CAR, thing.z)
    profile = _CARS[int(thing.tones[1] * 3)]
    lean = 0.2
    colour = style.colour('car', thing.tones[0], thing.tones[2], thing.tones[1])
    under(body, style, part)
    shell(body, style, profile, span(thing, 0, 1), thing.height, colour, part, lean)
    points = np.array(profile[0])
    low, high = 0.66 * thing.height, 0.95 * thing.height
    roof = span(thing, points[3, 0], points[4, 0])
    half = thing.width / 2 + 0.01
    foot = span(thing, points[2, 0] + 0.06, points[5, 0] - 0.06)
    middle = (roof[0] + roof[1]) / 2
    dark = style.colour('glass', *thing.tones[:2])
    for sign, _ in sides(body):
        for (a, b), (c, d) in (((foot[0], middle - .06), (roof[0], middle - .06)),
                               ((middle + .06, foot[1]), (middle + .06, roof[1]))):
            pane = np.array([[a, low, sign * half], [b, low, sign * half],
                             [d, high, sign * half * (1 - lean * .85)],
                             [c, high, sign * half * (1 - lean * .85)]])
            canvas.polygon(body.world(pane), dark, part)
    wheels(body, style, (-0.29 * thing.length, 0.31 * thing.length), 0.33, part)
    ends(body, style, part, 0.42 * thing.height, 0.55 * thing.height)


def draw_bus(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A city bus: one long box with a band of windows and doors."""
    body, part = Body(canvas, scene, thing), canvas.part(L.BUS, max(thing.near + 2, 3.))
    colour = style.colour('bus', *thing.tones)
    under(body, style, part, 0.4)
    shell(body, style, _BOX, span(thing, 0, 1), thing.height, colour, part, 0.04)
    edges = np.linspace(-0.48, 0.48, 8) * thing.length
    side_panes(body, style, part, np.column_stack([edges[:-1] + .08, edges[1:] - .08]),
                0.45 * thing.height, 0.82 * thing.height, 0.02)
    doors = np.array([[0.36, 0.45], [-0.06, 0.04]]) * thing.length
    side_panes(body, style, part, doors, 0.14 * thing.height, 0.82 * thing.height, 0.02)
    wheels(body, style, (-0.27 * thing.length, 0.28 * thing.length), 0.48, part)
    ends(body, style, part, 0.24 * thing.height, 0.32 * thing.height)
    _board(body, part, (255, 190, 60))


def _board(body: Body, part: int, colour: tuple[int, int, int]) -> None:
    """The lit destination above the windscreen."""
    along = body.thing.length / 2 + 0.01
    for end in (along, -along):
        quad = body.across(end, .83 * body.thing.height, .93 * body.thing.height)
        if body.faces_camera(quad)[0]:
            body.canvas.polygon(patch(quad, 0.15, 0.85, 0, 1), (30, 30, 30), part)
            body.canvas.polygon(patch(quad, 0.25, 0.7, 0.25, 0.75), colour, part)


def draw_truck(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A cab and a cargo box; the farther of the two comes first."""
    body, part = Body(canvas, scene, thing), canvas.part(L.TRUCK, max(thing.near + 2, 3.))
    cargo = style.colour('truck', *thing.tones)
    cab = style.colour('cab', thing.tones[2], thing.tones[1])
    under(body, style, part, 0.55)
    plain = (((0, .2), (0, 1), (1, 1), (1, .2)), ())

    def draw_cargo() -> None:
        shell(body, style, plain, span(thing, 0, .72), thing.height, cargo, part)
        half, length = thing.width / 2 + .01, thing.length
        for sign, _ in sides(body):
            for low, high in ((.2, .25), (.55, .7)):
                band = body.along(-.5 * length, .22 * length, low * thing.height, high * thing.height, sign * half)
                canvas.polygon(band, cab, part)
        _doors(body, cargo, part)

    def draw_cab() -> None:
        shell(body, style, _CAB, span(thing, .74, 1), thing.height * 0.8, cab, part, 0.05)
        side_panes(body, style, part, np.array([[.33, .44]]) * thing.length, 0.46 * thing.height, 0.7 * thing.height)

    toward = np.cos(thing.heading) < 0  # it comes towards the camera: the cab is nearer
    for step in ((draw_cargo, draw_cab) if toward else (draw_cab, draw_cargo)):
        step()
    wheels(body, style, tuple(np.array([-.34, -.22, .36]) * thing.length), 0.5, part)
    ends(body, style, part, 0.2 * thing.height, 0.27 * thing.height)


def _doors(body: Body, colour: Colour, part: int) -> None:
    """The two wings at the rear of a truck."""
    quad = body.across(-body.thing.length / 2 - .01, .2 * body.thing.height, body.thing.height)
    if body.faces_camera(quad)[0]:
        for u in (0.04, 0.515):
            body.canvas.polygon(patch(quad, u, u + 0.445, 0.12, 0.95), shade(colour, 0.86), part)
            body.canvas.polygon(patch(quad, u + .2, u + .23, 0.12, 0.95), shade(colour, .6), part)


def draw_train(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A tram: long, with a stripe, a slanting front and a lit destination."""
    body, part = Body(canvas, scene, thing), canvas.part(L.TRAIN, max(thing.near + 3, 3.))
    colour = style.colour('train', *thing.tones)
    stripe = style.colour('train', thing.tones[0] + 0.4, thing.tones[2])
    nose = (((.02, .08), (0, .36), (.03, .9), (.05, 1.), (.95, 1.), (.97, .9), (1, .36), (.98, .08)), (1, 5))
    under(body, style, part, 0.3)
    shell(body, style, nose, span(thing, 0, 1), thing.height, colour, part, 0.12)
    half, length, height = thing.width / 2 + .01, thing.length, thing.height
    for sign, normal in sides(body):
        for low, high, paint in ((.08, .2, (60, 60, 64)), (.3, .4, stripe)):
            band = body.along(-.48 * length, .48 * length, low * height, high * height, sign * half)
            canvas.polygon(band, shade(paint, style.brightness(scene, normal)), part)
    edges = np.linspace(-0.45, 0.45, 15) * length
    side_panes(body, style, part, np.column_stack([edges[:-1] + .12, edges[1:] - .12]),
                0.44 * height, 0.8 * height, 0.05)
    ends(body, style, part, 0.26 * height, 0.33 * height, plate=False)
    _board(body, part, (255, 160, 40))
