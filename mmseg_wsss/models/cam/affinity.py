"""Affinity between the patches of an image, and how it spreads class activation maps.

CLIP-ES (https://arxiv.org/abs/2212.09506, section 3.3) refines CAMs by the attention of CLIP; the similarity of
self-supervised features serves as well. N x N values per image are formed; everything else is products with vectors.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .attention_fusion import attention_map

_EPS = 1e-8


def mean_patch_attention(query: Tensor, key: Tensor, num_cls: int) -> Tensor:
    """Mean of a block's patch-to-patch attention over its heads, one map in memory at a time, in float32.

    Args:
        query, key: (B, H, n, d) with the class tokens first.
        num_cls: number of class tokens T.

    Returns:
        (B, N, N) with N = n - T; row i says what patch i attends to.
    """
    total = 0
    for one, other in zip(query.split(1, dim=1), key.split(1, dim=1), strict=True):  # each (B, 1, n, d)
        with torch.autocast(query.device.type, enabled=False):
            maps = attention_map(one[:, :, num_cls:].float(), other.float())  # (B, 1, N, n)
        total = total + maps[:, 0, :, num_cls:]
    return total / query.shape[1]


def feature_affinity(features: Tensor, temperature: float) -> Tensor:
    """Softmax over the cosine similarities of the patches, ``softmax_j(cos(f_i, f_j) / temperature)``.

    Args:
        features: (B, N, D).
        temperature: > 0.

    Returns:
        (B, N, N), rows that sum to 1.
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = torch.nn.functional.normalize(features.float(), dim=-1)
        return (unit @ unit.mT).div_(temperature).softmax(dim=-1)


def balanced(affinity: Tensor, rounds: int) -> Tensor:
    """Divide columns, then rows by their sums, ``rounds`` times (Sinkhorn), and take the mean with the transpose.

    Args:
        affinity: (B, N, N) >= 0; it is overwritten.
        rounds: published: 3.

    Returns:
        symmetric (B, N, N) whose rows and columns sum to about 1.
    """
    for _ in range(rounds):
        affinity /= affinity.sum(dim=-2, keepdim=True).clamp(min=_EPS)
        affinity /= affinity.sum(dim=-1, keepdim=True).clamp(min=_EPS)
    return (affinity + affinity.mT) / 2


def component_boxes(maps: Tensor, threshold: float) -> Tensor:
    """Where the bounding boxes of the connected components of the high values are.

    A component is a set of pixels of at least ``threshold`` times the maximum of their map that touch each other, also
    at corners.

    Args:
        maps: (B, K, h, w) >= 0.
        threshold: in [0, 1] (CLIP-ES: 0.4 on VOC, 0.7 on COCO).

    Returns:
        bool (B, K, h, w).
    """
    high = (maps >= threshold * maps.amax(dim=(-2, -1), keepdim=True)).flatten(0, 1).cpu().numpy()
    inside = np.zeros_like(high)
    for mask, boxes in zip(high, inside, strict=True):
        for box in ndimage.find_objects(ndimage.label(mask, structure=np.ones((3, 3)))[0]):
            boxes[box] = True
    return torch.from_numpy(inside).to(maps.device).view_as(maps)


def spread(maps: Tensor, affinity: Tensor, *, power: int, box_threshold: float | None = None) -> Tensor:
    """Replace every value by a mean over similar patches, ``power`` times, and stretch the map to its former range.

    A map that is the same everywhere, such as a constant background, stays as it is.

    Args:
        maps: (B, K, h, w) >= 0.
        affinity: of :func:`balanced`, (B, h * w, h * w).
        power: of the affinity (CLIP-ES: 2).
        box_threshold: only values in :func:`component_boxes` are spread; None: all.

    Returns:
        (B, K, h, w), each map with its own smallest and largest value.
    """
    given = maps if box_threshold is None else maps * component_boxes(maps, box_threshold)
    values = given.flatten(2)  # (B, K, N); columns of the affinity outside the boxes thus count as 0
    for _ in range(power):
        values = values @ affinity.mT
    values = values - values.amin(dim=-1, keepdim=True)
    shares = values / values.amax(dim=-1, keepdim=True).clamp(min=_EPS)
    low, high = maps.flatten(2).aminmax(dim=-1, keepdim=True)
    return (low + (high - low) * shares).view_as(maps)
