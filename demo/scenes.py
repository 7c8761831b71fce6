"""Draws the demo's data set: scenes of several textured objects, with image-level tags and masks, from a fixed seed.

Layout (that of PASCAL VOC, tags in a JSON file)::

    DIR/JPEGImages/train_0000.jpg          DIR/SegmentationClass/train_0000.png (palette; 0 = background)
    DIR/ImageSets/Segmentation/train.txt   DIR/ImageSets/Segmentation/val.txt
    DIR/tags.json                          {"train_0000": ["cat", "house"], ...}

Usage: ``python -m demo.scenes work_dirs/demo/data``
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from demo.objects import Kind, draw
from demo.textures import colour, texture

HOME = Path('work_dirs/demo/data')
"""Where the configs of the demo look for the scenes."""

_SOFT = ('ellipse', 'egg', 'bean')
_HARD = ('box', 'crate', 'trapezoid')
KINDS = (
    Kind('cat', 'pointed ears', (0.85, -0.55), _SOFT, ('four legs', 'tail'), ('fur', 'stripes'), 0.1, loyalty=0.95),
    Kind('rabbit', 'long ears', (0.8, -0.5), _SOFT, ('four legs', 'two legs'), ('fur', 'plain'), 0.9, loyalty=0.95),
    Kind('bird', 'beak', (0.85, -0.5), _SOFT, ('two legs', 'tail'), ('spots', 'plain'), 0.62, loyalty=0.95),
    Kind('car', 'cabin', (0.1, -0.75), _HARD, ('wheels',), ('plain', 'stripes'), 0.0, loyalty=0.95),
    Kind('house', 'roof', (0.0, -0.85), _HARD, ('none',), ('bricks', 'planks'), 0.76, loyalty=0.95),
    Kind('robot', 'screen', (0.0, -0.85), _HARD, ('two legs', 'wheels'), ('checks', 'plain'), 0.48, loyalty=0.95),
)
CLASSES = tuple(kind.name for kind in KINDS)
PALETTE = ((0, 0, 0), (214, 120, 40), (230, 190, 200), (60, 120, 220), (200, 40, 50), (150, 90, 40), (90, 190, 170))

# name: (pattern, hue of the first colour, hue of the second)
BACKGROUNDS = {
    'grass': ('fur', 0.3, 0.25),
    'sand': ('speckle', 0.12, 0.1),
    'water': ('waves', 0.55, 0.6),
    'sky': ('clouds', 0.58, 0.55),
    'wall': ('bricks', 0.03, 0.1),
    'floor': ('planks', 0.08, 0.06),
    'pavement': ('checks', 0.6, 0.15),
    'carpet': ('spots', 0.9, 0.8),
}
# Where a kind is mostly met: right in HOME_RATE of the scenes, any background in the others.
HOMES = {'cat': 'floor', 'rabbit': 'grass', 'bird': 'sky', 'car': 'pavement', 'house': 'grass', 'robot': 'carpet'}
HOME_RATE = 0.5

SIZE = (96, 128)
MIN_VISIBLE = 100
"""Fewest visible pixels of a class in a scene; one that shows less, or hides more than half of one, is drawn anew."""


def background(height: int, width: int, rng: np.random.Generator, name: str | None = None) -> np.ndarray:
    """A textured background (h, w, 3) float32; one of ``BACKGROUNDS`` at random when no name is given."""
    pattern, first, second = BACKGROUNDS[name or rng.choice(list(BACKGROUNDS))]
    return texture(pattern, height, width, rng, colour(rng, first), colour(rng, second))


def finish(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur edges a little and add sensor noise: float canvas -> uint8 RGB picture."""
    soft = cv2.GaussianBlur(canvas, (3, 3), rng.uniform(0.4, 0.8))
    return np.clip(soft + rng.normal(0, 5, canvas.shape), 0, 255).astype(np.uint8)


def scene(rng: np.random.Generator, kinds: tuple[Kind, ...] = KINDS) -> tuple[np.ndarray, np.ndarray]:
    """One scene of 1 to 4 objects of 1 to 3 kinds; later objects hide earlier ones.

    Returns:
        Picture (h, w, 3) uint8 RGB and mask (h, w) uint8 with 0 = background, k + 1 = ``kinds[k]``.
    """
    while True:
        chosen = rng.choice(len(kinds), rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15]), replace=False)
        name = HOMES.get(kinds[chosen[0]].name) if rng.random() < HOME_RATE else None
        canvas, mask = background(*SIZE, rng, name), np.zeros(SIZE, np.uint8)
        drawn = dict.fromkeys(chosen, 2 * MIN_VISIBLE)
        extra = rng.choice(chosen, rng.choice([0, 1], p=[0.8, 0.2]))
        for k in rng.permutation(np.concatenate([chosen, extra])):
            size = rng.uniform(18, 32 if len(chosen) > 1 else 40)
            centre = rng.uniform((size, size), (SIZE[1] - size, SIZE[0] - size))
            silhouette = draw(kinds[k], canvas, centre, size, rng)
            mask[silhouette] = k + 1
            drawn[k] = max(drawn[k], silhouette.sum())
        if all((mask == k + 1).sum() >= drawn[k] / 2 for k in chosen):
            return finish(canvas, rng), mask


def write(directory: str | Path, *, train: int = 1200, val: int = 200, seed: int = 0) -> Path:
    """Draw the data set into ``directory`` unless it is there already.

    Everything is drawn under a temporary name and renamed at the end, so an interrupted call leaves nothing half-made.

    Returns:
        The directory.
    """
    directory = Path(directory)
    if directory.exists():
        return directory
    part = directory.with_name(directory.name + '.part')
    shutil.rmtree(part, ignore_errors=True)
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (part / folder).mkdir(parents=True)
    tags = {}
    for index, (split, count) in enumerate((('train', train), ('val', val))):
        names = [f'{split}_{i:04d}' for i in range(count)]
        for i, name in enumerate(names):
            picture, mask = scene(np.random.default_rng((seed, index, i)))
            Image.fromarray(picture).save(part / 'JPEGImages' / f'{name}.jpg', quality=92)
            save_mask(mask, part / 'SegmentationClass' / f'{name}.png')
            tags[name] = [CLASSES[k - 1] for k in np.unique(mask) if k]
        (part / f'ImageSets/Segmentation/{split}.txt').write_text('\n'.join(names) + '\n')
    (part / 'tags.json').write_text(json.dumps(tags, indent=0))
    part.rename(directory)
    return directory


def save_mask(mask: np.ndarray, path: Path) -> None:
    """Save class ids (h, w) uint8 as a PNG with the data set's palette."""
    image = Image.fromarray(mask, mode='P')
    image.putpalette([value for rgb in PALETTE for value in rgb])
    image.save(path)


if __name__ == '__main__':
    print(write(sys.argv[1]))
