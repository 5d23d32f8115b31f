"""The drawing surface: colour and label are painted by the same stroke, so they cannot disagree."""

from typing import Sequence

import cv2
import numpy as np

from .camera import NEAR, Camera, clip_near

Colour = Sequence[float]
_SHIFT = 4  # sub-pixel bits of OpenCV's drawing functions


class Canvas:
    """An RGB image whose fourth channel holds the number of the part that owns the pixel.

    A part is a label at a distance; the tables `labels` and `depths` say which. Points are in
    metres in the world and go through the camera.
    """

    def __init__(self, camera: Camera, size: tuple[int, int], oversample: int = 3) -> None:
        """size: (width, height) of the finished picture. oversample: canvas pixels per pixel."""
        self.camera, self.size, self.oversample = camera, size, oversample
        width, height = size[0] * oversample, size[1] * oversample
        self.pixels = np.zeros((height, width, 4), np.uint8)
        # The layout is laid out for the nominal aspect; a size that rounds it is stretched.
        self._scale = np.array([width / camera.aspect, height]) * (1 << _SHIFT)
        self.labels: list[int] = []
        self.depths: list[float] = []  # 0: lies on the ground, the row tells the distance
        self._parts: dict[tuple[int, int], int] = {}

    def part(self, label: int, depth: float = 0.) -> int:
        """The number of the part with this label at this depth (in steps of a third of an octave)."""
        step = int(np.ceil(3 * np.log2(max(depth, 1.)))) if depth > 0 else -1
        key = (label, step)
        if key not in self._parts:
            if len(self.labels) == 256:
                raise ValueError('A scene may have 256 parts at most; draw fewer kinds of things.')
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
        view = self.camera.view(points)
        view = view[(view[..., 2] >= NEAR).all(-1)]
        if len(view):
            self._fill(list(self._fixed(view)), colour, part)

    def strip(self, a: np.ndarray, b: np.ndarray, width: float, colour: Colour,
              part: int) -> None:
        """Fill a bar of `width` metres from a to b, (3,) each, that faces the camera."""
        ends = np.array([a, b], float)
        view = self.camera.view(ends)
        if (view[:, 2] < NEAR).any():
            return
        along = np.diff(self.camera.image(view), axis=0)[0]
        across = np.array([-along[1], along[0]]) / max(np.hypot(*along), 1e-9)
        half = across * width / 2 * self.camera.focal / view[:, 2:]
        points = self.camera.image(view)
        corners = np.concatenate([points - half, (points + half)[::-1]])
        self._fill([(corners * self._scale).astype(np.int32)], colour, part)

    def discs(self, centres: np.ndarray, radii: np.ndarray, colours: np.ndarray,
              part: int) -> None:
        """Fill round blobs that face the camera: centres (K, 3), radii (K,), colours (K, 3)."""
        view = self.camera.view(centres)
        keep = view[:, 2] >= NEAR
        points = self._fixed(view[keep])
        pixels = radii[keep] * self.camera.focal / view[keep, 2] * self._scale[1]
        for (x, y), r, colour in zip(points.tolist(), pixels.tolist(), colours[keep].tolist()):
            if r < 2 ** 15:
                cv2.circle(self.pixels, (x, y), int(r) + 1, (*colour, part), -1, cv2.LINE_8, _SHIFT)

    def darken(self, points: np.ndarray, factor: float) -> None:
        """Cast a shadow on a flat outline (N, 3): the colour changes, the owner does not."""
        view = clip_near(self.camera.view(points))
        if len(view) < 3:
            return
        outline = self._fixed(view) >> _SHIFT
        x, y, width, height = cv2.boundingRect(outline)
        x0, y0 = max(x, 0), max(y, 0)
        spot = self.pixels[y0:max(y + height, 0), x0:max(x + width, 0), :3]
        if spot.size:
            mask = np.zeros(spot.shape[:2], np.uint8)
            cv2.fillPoly(mask, [outline], 1, offset=(-x0, -y0))
            spot[mask > 0] = spot[mask > 0] * factor

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Picture (H, W, 3) float32 in 0..255, label (H, W) uint8, distance (H, W) float32."""
        image = cv2.resize(self.pixels[..., :3], self.size, interpolation=cv2.INTER_AREA)
        middle = self.oversample // 2
        parts = self.pixels[middle::self.oversample, middle::self.oversample, 3]
        label = np.array(self.labels, np.uint8)[parts]
        depth = np.array(self.depths, np.float32)[parts]
        rows = self.camera.ground_depth(self.size[1]).astype(np.float32)[:, None]
        return image.astype(np.float32), label, np.where(depth > 0, depth, rows)

    def _fixed(self, view: np.ndarray) -> np.ndarray:
        """View points (..., 3) as fixed-point canvas coordinates (..., 2) int32."""
        limit = 1e5 * (1 << _SHIFT)
        return (self.camera.image(view) * self._scale).clip(-limit, limit).astype(np.int32)

    def _fill(self, polygons: list[np.ndarray], colour: Colour, part: int) -> None:
        red, green, blue = colour
        cv2.fillPoly(self.pixels, polygons, (float(red), float(green), float(blue), part),
                     cv2.LINE_8, _SHIFT)


def shade(colour: Colour, factor: float) -> np.ndarray:
    """A lighter or darker colour: (3,) float in 0..255."""
    return np.clip(np.asarray(colour, float) * factor, 0, 255)


def blend(a: Colour, b: Colour, amount: float) -> np.ndarray:
    """amount = 0 gives a, 1 gives b: (3,) float."""
    return np.asarray(a, float) * (1 - amount) + np.asarray(b, float) * amount


def patches(quad: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sub-quads of a quad.

    quad: (4, 3), corners in the order bottom left, bottom right, top right, top left.
    columns: (K, 2) and rows: (K, 2), the extents in 0..1 along the bottom and the left edge.
    Returns (K, 4, 3).
    """
    u = np.stack([columns[:, 0], columns[:, 1], columns[:, 1], columns[:, 0]], 1)[..., None]
    v = np.stack([rows[:, 0], rows[:, 0], rows[:, 1], rows[:, 1]], 1)[..., None]
    bottom = quad[0] * (1 - u) + quad[1] * u
    top = quad[3] * (1 - u) + quad[2] * u
    return bottom * (1 - v) + top * v


def patch(quad: np.ndarray, u0: float, u1: float, v0: float, v1: float) -> np.ndarray:
    """One sub-quad (4, 3); see `patches`."""
    return patches(quad, np.array([[u0, u1]]), np.array([[v0, v1]]))[0]
