"""Cars, trucks, buses and trains: side profiles pulled across their width, in true perspective."""

import numpy as np

from . import labels as L
from .body import Body, ends, shell, side_panes, sides, span, under, wheels
from .canvas import Canvas, Colour, patch, shade
from .scene import Scene, Thing
from .shapes import sunlight
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
    half, height = body.thing.width / 2, body.thing.height
    along = body.thing.length / 2 + 0.01
    for end in (along, -along):
        quad = body.world(np.array([[end, .83 * height, -half], [end, .83 * height, half],
                                    [end, .93 * height, half], [end, .93 * height, -half]]))
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
                band = np.array([[-.5 * length, low * thing.height, sign * half],
                                 [.22 * length, low * thing.height, sign * half],
                                 [.22 * length, high * thing.height, sign * half],
                                 [-.5 * length, high * thing.height, sign * half]])
                canvas.polygon(body.world(band), cab, part)
        _doors(body, cargo, part)

    def draw_cab() -> None:
        shell(body, style, _CAB, span(thing, .74, 1), thing.height * 0.8, cab, part, 0.05)
        side_panes(body, style, part, np.array([[.33, .44]]) * thing.length,
                    0.46 * thing.height, 0.7 * thing.height)

    toward = np.cos(thing.heading) < 0  # it comes towards the camera: the cab is nearer
    for step in ((draw_cargo, draw_cab) if toward else (draw_cab, draw_cargo)):
        step()
    wheels(body, style, tuple(np.array([-.34, -.22, .36]) * thing.length), 0.5, part)
    ends(body, style, part, 0.2 * thing.height, 0.27 * thing.height)


def _doors(body: Body, colour: Colour, part: int) -> None:
    """The two wings at the rear of a truck."""
    half, height, along = body.thing.width / 2, body.thing.height, -body.thing.length / 2 - .01
    quad = body.world(np.array([[along, .2 * height, -half], [along, .2 * height, half],
                                [along, height, half], [along, height, -half]]))
    if body.faces_camera(quad)[0]:
        for u in (0.04, 0.515):
            body.canvas.polygon(patch(quad, u, u + 0.445, 0.12, 0.95), shade(colour, 0.86), part)
            body.canvas.polygon(patch(quad, u + .2, u + .23, 0.12, 0.95), shade(colour, .6), part)


def draw_train(canvas: Canvas, scene: Scene, style: Style, thing: Thing) -> None:
    """A tram: long, with a stripe, a slanting front and a lit destination."""
    body, part = Body(canvas, scene, thing), canvas.part(L.TRAIN, max(thing.near + 3, 3.))
    colour = style.colour('train', *thing.tones)
    stripe = style.colour('train', thing.tones[0] + 0.4, thing.tones[2])
    nose = (((.02, .08), (0, .36), (.03, .9), (.05, 1.), (.95, 1.), (.97, .9), (1, .36),
             (.98, .08)), (1, 5))
    under(body, style, part, 0.3)
    shell(body, style, nose, span(thing, 0, 1), thing.height, colour, part, 0.12)
    half, length, height = thing.width / 2 + .01, thing.length, thing.height
    for sign, normal in sides(body):
        for low, high, paint in ((.08, .2, (60, 60, 64)), (.3, .4, stripe)):
            band = np.array([[-.48 * length, low * height, sign * half],
                             [.48 * length, low * height, sign * half],
                             [.48 * length, high * height, sign * half],
                             [-.48 * length, high * height, sign * half]])
            canvas.polygon(body.world(band), shade(paint, sunlight(scene, style, normal)), part)
    edges = np.linspace(-0.45, 0.45, 15) * length
    side_panes(body, style, part, np.column_stack([edges[:-1] + .12, edges[1:] - .12]),
                0.44 * height, 0.8 * height, 0.05)
    ends(body, style, part, 0.26 * height, 0.33 * height, plate=False)
    _board(body, part, (255, 160, 40))
