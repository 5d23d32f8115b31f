"""The drawing surface: colour and label are painted by the same stroke, so they cannot disagree."""

from collections.abc import Sequence

import cv2
import numpy as np

from .camera import NEAR, Camera, clip_near

Colour = Sequence[float]
OVERSAMPLE = 3  # canvas pixels per pixel of the finished picture, in each direction
_SHIFT = 4  # sub-pixel bits of OpenCV's drawing functions
_LIMIT = 1e5 * (1 << _SHIFT)  # coordinates are clipped to this
HALVES = np.array([-0.5, 0.5])


class Canvas:
    """An RGB image whose fourth channel holds the number of the part that owns the pixel.

    A part is a label at a distance, listed in `labels` and `depths`. Points are in metres in the world.
    """

    def __init__(self, camera: Camera, size: tuple[int, int]) -> None:
        """size: (width, height) of the finished picture."""
        self.camera, self.size = camera, size
        width, height = size[0] * OVERSAMPLE, size[1] * OVERSAMPLE
        self.pixels = np.zeros((height, width, 4), np.uint8)
        # Scenes are laid out for the nominal aspect; a size that rounds it stretches them.
        self._scale = np.array([width / camera.aspect, height]) * (1 << _SHIFT)
        self._zoom = self._scale * (camera.focal, -camera.focal)
        self._middle = np.array([width, height]) * (1 << _SHIFT) / 2
        self.labels: list[int] = []
        self.depths: list[float] = []  # 0: on the ground, where the distance follows from the row
        self._parts: dict[tuple[int, int], int] = {}

    def part(self, label: int, depth: float = 0.) -> int:
        """The number of the part with this label at this depth (in steps of a third of an octave)."""
        step = int(np.ceil(3 * np.log2(max(depth, 1.)))) if depth > 0 else -1
        key = (label, step)
        if key not in self._parts:
            if len(self.labels) == 256:
                raise ValueError('a scene may have at most 256 parts; draw fewer kinds of things')
            self._parts[key] = len(self.labels)
            self.labels.append(label)
            self.depths.append(2 ** (step / 3) if step >= 0 else 0.)
        return self._parts[key]

    def polygon(self, points: np.ndarray, colour: Colour, part: int) -> None:
        """Fill a flat polygon, points: (N, 3)."""
        view = clip_near(self.camera.view(points))
        if len(view) >= 3:
            self._fill([self._fixed(view)], colour, part)

    def polygons(self, points: np.ndarray, colour: Colour, part: int) -> None:
        """Fill many small polygons that do not overlap, points: (K, N, 3)."""
        if not len(points):
            return
        view = self.camera.view(points)
        if view[..., 2].min() < NEAR:
            view = view[(view[..., 2] >= NEAR).all(-1)]
        if len(view):
            self._fill(list(self._fixed(view)), colour, part)

    def may_show(self, points: np.ndarray) -> bool:
        """Whether something within these corners (N, 3) may be in the picture."""
        view = self.camera.view(points)
        ahead = view[:, 2] > NEAR
        if not ahead.all():  # too near for a decision
            return bool(ahead.any())
        x = view[:, 0] / view[:, 2] * self.camera.focal
        edge = self.camera.aspect / 2
        return bool(x.min() < edge and x.max() > -edge)

    def strip(self, a: Sequence[float], b: Sequence[float], width: float, colour: Colour, part: int) -> None:
        """Fill a bar of `width` metres from a to b, (3,) each, that faces the camera."""
        (xa, ya, za), (xb, yb, zb) = self.camera.view(np.array([a, b], float)).tolist()
        if min(za, zb) < NEAR:
            return
        (zoom_x, zoom_y), (mid_x, mid_y) = self._zoom.tolist(), self._middle.tolist()
        pa, pb = (xa / za * zoom_x, ya / za * zoom_y), (xb / zb * zoom_x, yb / zb * zoom_y)
        along = pb[0] - pa[0], pb[1] - pa[1]
        size = width / 2 * abs(zoom_y) / max(np.hypot(*along), 1e-9)
        across = -along[1] * size, along[0] * size
        corners = [[mid_x + p[0] + side * across[0] / z, mid_y + p[1] + side * across[1] / z]
                   for p, z, side in ((pa, za, -1), (pb, zb, -1), (pb, zb, 1), (pa, za, 1))]
        self._fill([np.array(corners).astype(np.int32)], colour, part)

    def discs(self, centres: np.ndarray, radii: np.ndarray, colours: np.ndarray, part: int) -> None:
        """Fill round blobs that face the camera: centres (K, 3), radii (K,), colours (K, 3)."""
        view = self.camera.view(centres)
        keep = view[:, 2] >= NEAR
        points = self._fixed(view[keep])
        pixels = radii[keep] * self.camera.focal / view[keep, 2] * self._scale[1]
        colours = np.column_stack([colours[keep], np.full(len(points), part)])
        for centre, r, colour in zip(points.tolist(), pixels.tolist(), colours.tolist(), strict=True):
            if r < 2 ** 15:
                cv2.circle(self.pixels, centre, int(r) + 1, colour, -1, cv2.LINE_8, _SHIFT)

    def darken(self, shapes: list[np.ndarray], factor: float) -> None:
        """Darken the colours within flat outlines, (N, 3) each; parts stay as they are."""
        views = [clip_near(self.camera.view(points)) for points in shapes]
        outlines = [self._fixed(view) >> _SHIFT for view in views if len(view) >= 3]
        if not outlines:
            return
        x, y, width, height = cv2.boundingRect(np.concatenate(outlines))
        x0, y0 = max(x, 0), max(y, 0)
        spot = self.pixels[y0:max(y + height, 0), x0:max(x + width, 0), :3]
        if spot.size:
            share = np.ones(spot.shape[:2], np.float32)
            for outline in outlines:  # one at a time, so that overlaps are not darker
                cv2.fillPoly(share, [outline], factor, offset=(-x0, -y0))
            spot[:] = spot * share[..., None]

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Picture (H, W, 3) float32 in 0..255, label (H, W) uint8, distance (H, W) float32."""
        image = cv2.resize(self.pixels[..., :3], self.size, interpolation=cv2.INTER_AREA)
        middle = OVERSAMPLE // 2
        parts = self.pixels[middle::OVERSAMPLE, middle::OVERSAMPLE, 3]
        label = np.array(self.labels, np.uint8)[parts]
        depth = np.array(self.depths, np.float32)[parts]
        rows = self.camera.ground_depth(self.size[1]).astype(np.float32)[:, None]
        return image.astype(np.float32), label, np.where(depth > 0, depth, rows)

    def _fixed(self, view: np.ndarray) -> np.ndarray:
        """View points (..., 3) as fixed-point canvas coordinates (..., 2) int32."""
        points = view[..., :2] / view[..., 2:] * self._zoom + self._middle
        return np.minimum(np.maximum(points, -_LIMIT), _LIMIT).astype(np.int32)

    def _fill(self, polygons: list[np.ndarray], colour: Colour, part: int) -> None:
        red, green, blue = colour
        cv2.fillPoly(self.pixels, polygons, (float(red), float(green), float(blue), part), cv2.LINE_8, _SHIFT)


def shade(colour: Colour, factor: float) -> tuple[float, float, float]:
    """A lighter or darker colour; channels stay in 0..255."""
    red, green, blue = colour
    return min(red * factor, 255.), min(green * factor, 255.), min(blue * factor, 255.)


def blend(a: Colour, b: Colour, amount: float) -> tuple[float, float, float]:
    """A mixture of two colours: a for amount 0, b for 1."""
    return tuple(x + (y - x) * amount for x, y in zip(a, b, strict=True))


def patches(quad: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sub-quads (K, 4, 3) of a quad (4, 3), whose corners are bottom left, bottom right, top right, top left.

    columns, rows: (K, 2), the extents in 0..1 along the bottom and the left edge.
    """
    u, v = columns[:, (0, 1, 1, 0), None], rows[:, (0, 0, 1, 1), None]
    right, up = quad[1] - quad[0], quad[3] - quad[0]
    return quad[0] + u * right + v * up + u * v * (quad[2] - quad[3] - right)


def patch(quad: np.ndarray, u0: float, u1: float, v0: float, v1: float) -> np.ndarray:
    """One sub-quad (4, 3); see `patches`."""
    return patches(quad, np.array([[u0, u1]]), np.array([[v0, v1]]))[0]


def upright(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    """A rectangle that faces the camera, at the distance z: (4, 3)."""
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def lengthwise(x: float, z0: float, z1: float, height: float) -> np.ndarray:
    """An upright rectangle along the street, on the ground: (4, 3)."""
    return np.array([[x, 0, z0], [x, 0, z1], [x, height, z1], [x, height, z0]])


def windows(quad: np.ndarray, columns: int, rows: int, wide: float, tall: float, low: float,
             high: float) -> np.ndarray:
    """A grid of windows on a quad between the heights low and high (0..1): (K, 4, 3)."""
    cell = np.arange(columns * rows)
    u, v = (cell % columns + 0.5) / columns, (cell // columns + 0.5) / rows
    across = u[:, None] + HALVES * (wide / columns)
    up = low + (high - low) * (v[:, None] + HALVES * (tall / rows))
    return patches(quad, across, up)
