"""The steps from a clean drawing to a photograph: fog, shadows, texture, optics, sensor."""

import cv2
import numpy as np

from . import labels as L
from .styles import Range, Style

# How strongly a surface shows grain, by raw id.
_GRAIN = {L.ROAD: 0.8, L.SIDEWALK: 1., L.BUILDING: 1., L.WALL: 1.2, L.FENCE: 1., L.VEGETATION: 1.8,
          L.TERRAIN: 1.6, L.SKY: 0.1}


def develop(image: np.ndarray, label: np.ndarray, depth: np.ndarray, style: Style,
            rng: np.random.Generator) -> np.ndarray:
    """Turn a drawing into this style's photograph.

    image: (H, W, 3) float32 RGB in 0..255. label: (H, W) uint8 raw ids. depth: (H, W) float32 in metres. Returns
    (H, W, 3) uint8. The random numbers of the whole picture come first and do not depend on its size.
    """
    def draw(span: Range) -> float:
        return float(rng.uniform(*span))

    fog, texture, uneven, blur, noise = (draw(span) for span in (
        style.fog, style.texture, style.unevenness, style.blur, style.noise))
    gamma, contrast, saturation, vignette = (draw(span) for span in (
        style.gamma, style.contrast, style.saturation, style.vignette))
    cast = np.array(style.cast) * (1 + style.cast_spread * rng.uniform(-1, 1, 3))
    slope = rng.uniform(-1, 1, 2)
    height, width = label.shape
    if texture:
        image = image + _grain(label, rng)[..., None] * texture
    image = _fog(image, label, depth, fog, style)
    image = image * (_light(height, width, slope, uneven, rng) * _vignette(height, width, vignette))[..., None]
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), max(blur * height / 96, 0.05))
    image = _grade(image, cast.astype(np.float32), gamma, contrast, saturation)
    if noise:
        image = image + rng.standard_normal(image.shape, np.float32) * noise
    return image.clip(0, 255).astype(np.uint8)


def _fog(image: np.ndarray, label: np.ndarray, depth: np.ndarray, density: float, style: Style) -> np.ndarray:
    clear = np.exp(-density * depth)
    clear[label == L.SKY] = 0.75 if density > 0.004 else 1.
    return image * clear[..., None] + np.float32(style.fog_colour) * (1 - clear[..., None])


def _grain(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of three sizes, weighted by surface: (H, W) float32 with a deviation of about 1."""
    height, width = label.shape
    field = np.zeros((height, width), np.float32)
    for share in (1., 0.5, 0.2):
        shape = max(int(height * share), 2), max(int(width * share), 2)
        field += cv2.resize(rng.standard_normal(shape, np.float32), (width, height))
    weight = np.full(256, 0.5, np.float32)
    weight[list(_GRAIN)] = list(_GRAIN.values())
    return field * weight[label] / 1.5


def _light(height: int, width: int, slope: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A slow change of brightness: a slope and some clouds' shadows, (H, W) around 1."""
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    clouds = cv2.resize(rng.uniform(-1, 1, (3, 5)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return (1 + strength * (0.5 * (slope[0] * x + slope[1] * y) + 0.5 * clouds)).astype(np.float32)


def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    return (1 - strength * (x * x + y * y) / 2).astype(np.float32)


def _grade(image: np.ndarray, cast: np.ndarray, gamma: float, contrast: float, saturation: float) -> np.ndarray:
    """Saturation, colour cast, contrast and gamma."""
    grey = image.mean(-1, keepdims=True)
    image = (grey + (image - grey) * saturation) * cast
    image = 128 + (image - 128) * contrast
    return 255 * (image.clip(0, 255) / 255) ** np.float32(gamma)
