"""One mask of the pseudo-labels of several networks for the same image."""

from collections.abc import Sequence

import numpy as np

from ..structures import IGNORE


def agreed(masks: Sequence[np.ndarray]) -> np.ndarray:
    """The ids on which all masks (H, W) agree; 255 elsewhere, and where one of them is 255."""
    first = masks[0]
    same = np.all([mask == first for mask in masks[1:]], axis=0)
    return np.where(same, first, IGNORE).astype(np.uint8)


def highest_mean(scores: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The ids (H, W) whose scores have the highest mean; at a tie the smallest id.

    Args:
        scores: of :func:`load_soft_scores`, per network ids (P,) and scores (P, H, W); other ids have score 0.
    """
    ids = np.unique(np.concatenate([each for each, _ in scores]))
    total = np.zeros((len(ids), *scores[0][1].shape[1:]), np.float32)
    for own, maps in scores:
        total[np.searchsorted(ids, own)] += maps
    return ids[total.argmax(axis=0)].astype(np.uint8)
