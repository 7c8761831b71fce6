"""Soft scores of an image as a small file without pickle."""

from pathlib import Path

import numpy as np

from ..fileio import whole_file

_LEVELS = 255


def write_soft_scores(path: str | Path, ids: np.ndarray, scores: np.ndarray) -> None:
    """Write score maps in 256 steps, complete or not at all.

    The file is a compressed ``.npz`` of three plain arrays: ``ids`` uint8 (P,), the segmentation ids (0 = background);
    ``values`` uint8 (P, H, W); ``scale`` float32, the step: a score is ``values * scale``, at most ``scale / 2`` off,
    where ``scale`` is the largest score / 255. Maps that are 0 everywhere are left out.

    Args:
        path: File to write, ending in ``.npz``; its folder is made.
        ids: (P,) segmentation ids in 0..255.
        scores: (P, H, W) >= 0.

    Raises:
        ValueError: a score is negative or not a number.
    """
    highest = scores.max(initial=0)
    if not (np.isfinite(highest) and scores.min(initial=0) >= 0):
        raise ValueError(f'{path}: soft scores must be numbers >= 0, got {scores.min(initial=0)}..{highest}')
    scale = np.float32(highest / _LEVELS or 1)
    values = np.round(scores / scale).clip(0, _LEVELS).astype(np.uint8)
    kept = values.any(axis=(1, 2))
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, ids=np.asarray(ids, np.uint8)[kept], values=values[kept], scale=scale)


def load_soft_scores(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of :func:`write_soft_scores`.

    Returns:
        ``ids`` int64 (P,) and ``scores`` float32 (P, H, W); all other classes have score 0.

    Raises:
        ValueError: it is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays['ids'].astype(np.int64), arrays['values'] * arrays['scale']
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds of errors for a damaged file
        raise ValueError(f'{path}: not a file of soft scores from make_pseudo_labels.py ({error})') from error
