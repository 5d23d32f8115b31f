"""A pinhole camera above a flat street: metres in, image heights out."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.8  # metres; anything nearer to the camera is cut off


@dataclass(frozen=True)
class Camera:
    """World axes: x to the right, y up, z along the street. The ground is y = 0."""

    height: float  # metres above the ground
    x: float  # metres to the right of the own lane's centre
    focal: float  # in image heights
    pitch: float  # radians, positive looks down
    yaw: float  # radians, positive looks to the right
    aspect: float  # width of the image / its height

    @cached_property
    def _rotation(self) -> np.ndarray:
        cos_p, sin_p = np.cos(self.pitch), np.sin(self.pitch)
        cos_y, sin_y = np.cos(self.yaw), np.sin(self.yaw)
        turn = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
        nod = np.array([[1, 0, 0], [0, cos_p, sin_p], [0, -sin_p, cos_p]])
        return (nod @ turn).T

    @cached_property
    def position(self) -> np.ndarray:
        """The camera's centre in the world: (3,) metres."""
        return np.array([self.x, self.height, 0.])

    def view(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in view coordinates (..., 3): right, up, forward."""
        return (points - self.position) @ self._rotation

    def image(self, view: np.ndarray) -> np.ndarray:
        """Points in front of the camera (..., 3) in the image: (..., 2) in image heights."""
        return view[..., :2] / view[..., 2:] * (self.focal, -self.focal) + (self.aspect / 2, 0.5)

    def ground_depth(self, rows: int) -> np.ndarray:
        """Forward distance of the ground in every image row: (rows,), 1000 above the horizon."""
        slope = (0.5 - (np.arange(rows) + 0.5) / rows) / self.focal  # up / forward
        drop = np.sin(self.pitch) - slope * np.cos(self.pitch)
        return np.where(drop > 1e-3, self.height / np.maximum(drop, 1e-3), 1000.)


def clip_near(view: np.ndarray) -> np.ndarray:
    """Clip a polygon (N, 3) in view coordinates at the near plane: (M, 3), where M may be 0."""
    inside = view[:, 2] >= NEAR
    if inside.all():
        return view
    kept = []
    for i in range(len(view)):
        a, b = view[i - 1], view[i]
        if inside[i - 1] != inside[i]:
            kept.append(a + (b - a) * (NEAR - a[2]) / (b[2] - a[2]))
        if inside[i]:
            kept.append(b)
    return np.array(kept).reshape(-1, 3)
