"""Drawn objects: a textured body whose shape several kinds share, and a head that tells the kind.

The body covers most of an object and hints at its kind by hue and texture; the head and its marks are small and sure.
A classifier therefore needs the head alone, as classifiers of photographs need little more than the face of a cat.
All outlines are polygons (n, 2) in object coordinates: the body reaches from -1 to 1, y points down.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from demo.textures import colour, texture

Polygon = np.ndarray


def arc(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0) -> Polygon:
    """Points of an ellipse from ``start`` to ``stop`` degrees (0 = right, 90 = down)."""
    angle = np.deg2rad(np.linspace(start, stop, 24))
    return np.stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)], 1)


def box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def poly(*points: tuple[float, float]) -> Polygon:
    return np.array(points)


BODIES: dict[str, Polygon] = {
    'ellipse': arc(0, 0, 1.0, 0.6),
    'egg': np.concatenate([arc(-0.1, 0, 0.9, 0.65, 90, 270), arc(-0.1, 0, 1.05, 0.65, -90, 90)]),
    'bean': np.concatenate([arc(-0.45, 0.05, 0.55, 0.6, 90, 270), arc(0.45, -0.05, 0.55, 0.55, -90, 90)]),
    'dome': np.concatenate([arc(0, 0.4, 1.0, 1.0, 180, 360)]),
    'box': box(-1, -0.55, 1, 0.55),
    'crate': box(-0.8, -0.65, 0.8, 0.65),
    'hexagon': poly((-1, 0), (-0.6, -0.6), (0.6, -0.6), (1, 0), (0.6, 0.6), (-0.6, 0.6)),
    'trapezoid': poly((-0.7, -0.55), (0.8, -0.55), (1, 0.55), (-1, 0.55)),
    'wedge': poly((-1, 0.5), (-0.8, -0.1), (0.9, -0.7), (1, 0.5)),
}

LIMBS: dict[str, list[Polygon]] = {
    'none': [],
    'four legs': [box(x, 0.3, x + 0.18, 1.05) for x in (-0.75, -0.4, 0.25, 0.6)],
    'two legs': [box(x, 0.3, x + 0.2, 1.1) for x in (-0.4, 0.25)],
    'wheels': [arc(x, 0.6, 0.32, 0.32) for x in (-0.55, 0.55)],
    'rollers': [arc(x, 0.6, 0.2, 0.2) for x in (-0.65, 0.0, 0.65)],
    'fins': [poly((-1.5, -0.5), (-0.8, 0), (-1.5, 0.5)), poly((-0.2, 0.4), (0.2, 0.4), (-0.2, 1.0))],
    'tail': [poly((-1.6, -0.7), (-1.5, -0.9), (-0.7, -0.2), (-0.7, 0.2))],
}

# A head: outlines in the head colour, then marks in the contrast colour; drawn about (0, 0) with radius 1.
_ROUND = arc(0, 0, 0.8, 0.8)
_EYES = [arc(-0.3, -0.15, 0.14, 0.18), arc(0.3, -0.15, 0.14, 0.18)]
HEADS: dict[str, tuple[list[Polygon], list[Polygon]]] = {
    'pointed ears': (
        [_ROUND, poly((-0.8, -0.2), (-0.75, -1.2), (-0.1, -0.7)), poly((0.8, -0.2), (0.75, -1.2), (0.1, -0.7))],
        [*_EYES, poly((-0.15, 0.2), (0.15, 0.2), (0, 0.42))],
    ),
    'long ears': (
        [_ROUND, arc(-0.4, -1.2, 0.22, 0.75), arc(0.4, -1.2, 0.22, 0.75)],
        [*_EYES, arc(-0.4, -1.2, 0.09, 0.5), arc(0.4, -1.2, 0.09, 0.5)],
    ),
    'beak': ([_ROUND], [arc(0.1, -0.2, 0.2, 0.2), poly((0.6, -0.35), (1.7, 0.1), (0.6, 0.4))]),
    'cabin': (
        [poly((-0.9, 0.7), (-0.6, -0.8), (0.6, -0.8), (1.1, 0.7))],
        [
            poly((-0.6, 0.4), (-0.4, -0.5), (-0.08, -0.5), (-0.08, 0.4)),
            poly((0.1, 0.4), (0.1, -0.5), (0.45, -0.5), (0.75, 0.4)),
        ],
    ),
    'roof': ([poly((-1.3, 0.7), (0, -0.9), (1.3, 0.7)), box(0.5, -1.0, 0.85, 0.2)], [arc(0, 0.1, 0.28, 0.28)]),
    'screen': (
        [box(-0.9, -0.75, 0.9, 0.75), box(-0.08, -1.4, 0.08, -0.7)],
        [box(-0.65, -0.35, -0.15, 0.05), box(0.15, -0.35, 0.65, 0.05), box(-0.5, 0.3, 0.5, 0.45)],
    ),
    'horns': (
        [
            arc(0, 0.1, 0.6, 0.8),
            poly((-0.5, -0.3), (-1.2, -1.0), (-0.2, -0.6)),
            poly((0.5, -0.3), (1.2, -1.0), (0.2, -0.6)),
        ],
        [arc(0, 0.5, 0.4, 0.25)],
    ),
    'trunk': ([_ROUND, box(0.4, 0.0, 0.8, 1.6)], [arc(0, -0.2, 0.2, 0.2)]),
    'crest': (
        [_ROUND, poly((-0.6, -0.5), (-0.9, -1.3), (-0.2, -0.9), (0, -1.5), (0.25, -0.9), (0.8, -1.3), (0.6, -0.5))],
        [arc(0.2, 0, 0.25, 0.25)],
    ),
    'ring': ([arc(0, 0, 1, 1)], [arc(0, 0, 0.6, 0.6)]),
    'star': (
        [
            np.stack(
                [
                    np.sin(np.arange(10) * np.pi / 5) * np.tile([1.2, 0.5], 5),
                    -np.cos(np.arange(10) * np.pi / 5) * np.tile([1.2, 0.5], 5),
                ],
                1,
            )
        ],
        [arc(0, 0, 0.2, 0.2)],
    ),
    'flag': ([box(-0.1, -1.4, 0.1, 0.9), poly((0.1, -1.4), (1.4, -0.9), (0.1, -0.3))], [arc(0.4, -0.9, 0.2, 0.2)]),
    'chimney': ([box(-0.5, -1.2, 0.5, 0.9)], [box(-0.5, -0.7, 0.5, -0.4), box(-0.5, 0.1, 0.5, 0.4)]),
    'snout': (
        [poly((-0.8, -0.6), (0.4, -0.6), (1.4, 0.2), (1.4, 0.6), (-0.6, 0.7))],
        [arc(-0.1, -0.2, 0.15, 0.15), arc(1.25, 0.3, 0.18, 0.18)],
    ),
    'fan': (
        [arc(0, 0.6, 1.3, 1.5, 200, 340)],
        [poly((0, 0.6), (-0.9, -0.4), (-0.6, -0.6)), poly((0, 0.6), (0.9, -0.4), (0.6, -0.6))],
    ),
}
# The golden section spreads any first few hues evenly over the circle.
HUES = {name: 0.382 * index % 1 for index, name in enumerate(HEADS)}


@dataclass(frozen=True)
class Kind:
    """One kind of object: the only sure sign is ``head``, its form and its hue; the rest are tendencies."""

    name: str
    head: str
    head_at: tuple[float, float]
    bodies: tuple[str, ...]
    limbs: tuple[str, ...]
    textures: tuple[str, ...]
    hue: float
    loyalty: float = 0.5
    """Probability that the body wears the kind's own texture and hue rather than any."""


def draw(
    kind: Kind, canvas: np.ndarray, centre: tuple[float, float], size: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw one object of half-length ``size`` pixels into ``canvas`` (h, w, 3) float32, in place.

    Returns:
        Its silhouette (h, w) bool: body, limbs and head.
    """
    silhouette = np.zeros(canvas.shape[:2], bool)
    place = _pose(centre, size, rng)
    loyal = rng.random() < kind.loyalty
    name = rng.choice(kind.textures if loyal else ALL_TEXTURES)
    hue = kind.hue if loyal else None
    first = colour(rng, hue, spread=0.03, saturation=(0.5, 0.9))
    second = colour(rng, hue, spread=0.06, saturation=(0.1, 0.5))
    body = [BODIES[rng.choice(kind.bodies)]]
    limbs = LIMBS[rng.choice(kind.limbs)]
    outlines, marks = HEADS[kind.head]
    radius, at = rng.uniform(0.42, 0.54), np.array(kind.head_at) + rng.uniform(-0.08, 0.08, 2)
    head_colour = colour(rng, HUES[kind.head], spread=0.02, saturation=(0.75, 1.0))
    contrast = (
        255 - head_colour
        if abs(head_colour.mean() - 128) > 50
        else np.full(3, 20 if rng.random() < 0.5 else 240, np.float32)
    )
    layers = [
        (limbs, 'plain', first * 0.6, first * 0.4),
        (body, name, first, second),
        ([p * radius + at for p in outlines], 'plain', head_colour, head_colour * 0.7),
        ([p * radius + at for p in marks], 'plain', contrast, contrast),
    ]
    for polygons, pattern, one, two in layers:
        for polygon in polygons:
            _paint(canvas, silhouette, place(polygon), pattern, one, two, rng)
    return silhouette


def _pose(centre: tuple[float, float], size: float, rng: np.random.Generator):
    """A random similarity (mirror, tilt, stretch) from object coordinates to pixels."""
    tilt, mirror = np.deg2rad(rng.uniform(-20, 20)), rng.choice([-1, 1])
    stretch = np.array([mirror * rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.15)]) * size
    rotation = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return lambda points: (points * stretch) @ rotation.T + np.array(centre)


def _paint(canvas, silhouette, polygon, pattern, first, second, rng) -> None:
    """Fill one polygon with a texture, inside its bounding box only."""
    height, width = silhouette.shape
    x0, y0 = np.maximum(np.floor(polygon.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(polygon.max(0)).astype(int) + 1, (width, height))
    if x0 >= x1 or y0 >= y1:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [np.round(polygon - (x0, y0)).astype(np.int32)], 1)
    inside = mask.astype(bool)
    canvas[y0:y1, x0:x1][inside] = texture(pattern, y1 - y0, x1 - x0, rng, first, second)[inside]
    silhouette[y0:y1, x0:x1] |= inside


ALL_TEXTURES = ('plain', 'fur', 'stripes', 'spots', 'checks', 'bricks', 'planks')
