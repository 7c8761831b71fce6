"""Masks of ids as annotations in COCO's format."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from contourpy import FillType, contour_generator
from pycocotools import mask as rle_codec

from mmseg_wsss.structures import BACKGROUND, IGNORE

_TOLERANCE = 0.5  # pixels by which a polygon may leave the border of its region


class Region(NamedTuple):
    """A connected region of one id: bool (h, w) at column ``x`` and row ``y`` of a mask of the size (H, W)."""

    id: int
    x: int
    y: int
    pixels: np.ndarray
    shape: tuple[int, int]


def regions(mask: np.ndarray) -> Iterator[Region]:
    """The connected regions (8 neighbours) of each id in a mask (H, W), without background and 255."""
    for i in np.unique(mask).tolist():
        if i in (BACKGROUND, IGNORE):
            continue
        count, labels, boxes, _ = cv2.connectedComponentsWithStats((mask == i).astype(np.uint8), connectivity=8)
        for k in range(1, count):
            x, y, width, height = boxes[k, :4].tolist()
            yield Region(i, x, y, labels[y : y + height, x : x + width] == k, mask.shape)


def annotation(region: Region, *, polygons: bool) -> dict:
    """A region as an annotation without its ids: ``segmentation``, ``area``, ``bbox``, ``category_id``, ``iscrowd``.

    Args:
        region: the region.
        polygons: whether the segmentation is polygons, which leave the border by half a pixel at most, instead of run
            lengths, which are exact.
    """
    height, width = region.pixels.shape
    return {
        'category_id': region.id,
        'segmentation': _polygons(region) if polygons else _run_lengths(region),
        'area': int(region.pixels.sum()),
        'bbox': [region.x, region.y, width, height],
        'iscrowd': 0,
    }


def _run_lengths(region: Region) -> dict:
    """Compressed run lengths down the columns; only those of the region's box are looked at."""
    height, width = region.shape
    columns = np.zeros((region.pixels.shape[1], height), bool)
    columns[:, region.y : region.y + region.pixels.shape[0]] = region.pixels.T
    changes = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + region.x * height
    counts = np.diff(changes, prepend=0, append=height * width).tolist()
    code = rle_codec.frPyObjects({'size': [height, width], 'counts': counts}, height, width)
    return {'size': [height, width], 'counts': code['counts'].decode('ascii')}


def _polygons(region: Region) -> list[list[float]]:
    """Outlines ``[x0, y0, x1, y1, ...]`` between the pixels inside and outside; COCO's pixel (0, 0) ends at (1, 1).

    COCO's polygons have no holes, so each hole is joined to its outline by a line that is walked there and back.
    """
    # Pixels are 1, those around them 0, centres half a pixel from the edges; the padding moves everything by one.
    values = np.pad(region.pixels, 1).astype(float)
    outlines, offsets = contour_generator(z=values, fill_type=FillType.OuterOffset).filled(0.5, np.inf)
    found = []
    for points, starts in zip(outlines, offsets, strict=True):
        outer, *holes = (_simplified(ring) for ring in np.split(points, starts[1:-1]))
        for hole in holes:
            outer = _joined(outer, hole)
        moved = outer + np.array([region.x - 0.5, region.y - 0.5])
        found.append(moved.round(2).ravel().tolist())
    return found


def _simplified(ring: np.ndarray) -> np.ndarray:
    """A closed ring (N, 2) with fewer points and without its repeated end; a tiny one stays as it is."""
    simple = cv2.approxPolyDP(ring[:-1].astype(np.float32), _TOLERANCE, closed=True)[:, 0].astype(float)
    return simple if len(simple) > 3 else ring[:-1]


def _joined(outer: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One ring that walks from the outer one to its hole, around it, and back along the same line."""
    distances = ((outer[:, None] - hole[None]) ** 2).sum(axis=-1)
    i, k = np.unravel_index(distances.argmin(), distances.shape)
    around = np.concatenate((hole[k:], hole[: k + 1]))
    return np.concatenate((outer[: i + 1], around, outer[i:]))
