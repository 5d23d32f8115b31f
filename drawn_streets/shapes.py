"""Light and shapes that several drawings share."""

import numpy as np

from .canvas import patches
from .scene import Scene
from .styles import Style

_HALVES = np.array([-0.5, 0.5])


def sunlight(scene: Scene, style: Style, normal: tuple[float, float, float]) -> float:
    """Brightness of a surface with this normal: `ambient` in the shade, about 1 in the sun."""
    lit = max(sum(n * s for n, s in zip(normal, scene.to_sun, strict=True)), 0.)
    return style.ambient + (1.08 - style.ambient) * lit


def upright(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    """A rectangle that faces the camera, at the distance z: (4, 3)."""
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def windows(quad: np.ndarray, columns: int, rows: int, wide: float, tall: float, low: float,
             high: float) -> np.ndarray:
    """A grid of windows on a quad between the heights low and high (0..1): (K, 4, 3)."""
    cell = np.arange(columns * rows)
    u, v = (cell % columns + 0.5) / columns, (cell // columns + 0.5) / rows
    across = u[:, None] + _HALVES * (wide / columns)
    up = low + (high - low) * (v[:, None] + _HALVES * (tall / rows))
    return patches(quad, across, up)
