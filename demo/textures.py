"""Procedural textures: every surface of the drawn data sets comes from here.

A texture is a float32 array (h, w, 3) of RGB values in 0..255 that mixes two colours by a pattern.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

Colour = np.ndarray
Pattern = Callable[[int, int, np.random.Generator], np.ndarray]


def smooth_noise(height: int, width: int, rng: np.random.Generator, cell: float) -> np.ndarray:
    """Low-frequency noise (h, w) in [0, 1]; ``cell`` is the size of one blob in pixels."""
    rows, cols = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    return cv2.resize(rng.random((rows, cols), dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def _coordinate(height: int, width: int, rng: np.random.Generator, angle: float) -> np.ndarray:
    """Position of every pixel along a direction, shifted at random: the phase of stripes and waves."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 50)


def plain(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return 0.4 * smooth_noise(height, width, rng, 30)


def fur(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Short strokes: noise that is stretched along one direction."""
    noise = rng.random((height, width), dtype=np.float32)
    size = (2, 7) if rng.random() < 0.5 else (7, 2)
    return np.clip(2.5 * (cv2.blur(noise, size) - 0.5) + 0.5, 0, 1)


def stripes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 10)
    return (np.sin(_coordinate(height, width, rng, angle) * 2 * np.pi / period) > 0).astype(np.float32)


def spots(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return (smooth_noise(height, width, rng, rng.uniform(4, 7)) > 0.6).astype(np.float32)


def checks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    size, shift = rng.integers(4, 8), rng.integers(0, 8, 2)
    y, x = np.mgrid[:height, :width]
    return (((y + shift[0]) // size + (x + shift[1]) // size) % 2).astype(np.float32)


def bricks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    size, shift = rng.integers(5, 8), rng.integers(0, 8, 2)
    y, x = np.mgrid[:height, :width] + shift[:, None, None]
    row = y // size
    return ((y % size == 0) | ((x + row % 2 * size) % (2 * size) == 0)).astype(np.float32)


def planks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    size = rng.integers(6, 11)
    x = np.arange(width) + rng.integers(0, 10)
    tone = rng.random(width // size + 3)[x // size] * 0.6 + 0.4 * (x % size == 0)
    return np.broadcast_to(tone, (height, width)).astype(np.float32)


def waves(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    bend = 6 * smooth_noise(height, width, rng, 12)
    return (0.5 + 0.5 * np.sin(_coordinate(height, width, rng, np.pi / 2) * 0.9 + bend)).astype(np.float32)


def speckle(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return rng.random((height, width), dtype=np.float32) ** 2


def clouds(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return 0.7 * smooth_noise(height, width, rng, 18) + 0.3 * smooth_noise(height, width, rng, 7)


PATTERNS: dict[str, Pattern] = {
    f.__name__: f for f in (plain, fur, stripes, spots, checks, bricks, planks, waves, speckle, clouds)
}


def colour(
    rng: np.random.Generator,
    hue: float | None = None,
    *,
    spread: float = 0.06,
    saturation: tuple[float, float] = (0.15, 0.6),
) -> Colour:
    """A random RGB colour (3,) in 0..255 around ``hue`` (0..1; any hue when None)."""
    hue = rng.random() if hue is None else (hue + rng.uniform(-spread, spread)) % 1.0
    return 255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(0.4, 0.95)), np.float32)


def texture(name: str, height: int, width: int, rng: np.random.Generator, first: Colour, second: Colour) -> np.ndarray:
    """The pattern ``name`` between two colours, with uneven light: (h, w, 3) float32."""
    mix = PATTERNS[name](height, width, rng)[..., None]
    light = 0.85 + 0.3 * smooth_noise(height, width, rng, 25)[..., None]
    return np.clip((first * (1 - mix) + second * mix) * light, 0, 255)
