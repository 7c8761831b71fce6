"""Embeddings of class names by a text encoder, as a file of plain arrays."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..fileio import whole_file


def read_text_embeddings(path: str | Path) -> dict[str, np.ndarray]:
    """Read an ``.npz`` of ``names`` (n,) text and ``embedding`` (n, D), one row per name.

    Returns:
        name, without spaces around it -> unit vector (D,) float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a file; pickled arrays are refused.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names, rows = arrays['names'], arrays['embedding']
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds of errors
        raise ValueError(f'{path} is not a file of text embeddings (arrays names, embedding): {error}') from error
    wrong_names = names.ndim != 1 or names.dtype.kind != 'U'
    if wrong_names or rows.ndim != 2 or rows.dtype.kind != 'f' or len(names) != len(rows):
        raise ValueError(
            f'{path}: names should be n texts and embedding n x D numbers, '
            f'but are {names.dtype} {names.shape} and {rows.dtype} {rows.shape}'
        )
    rows = rows.astype(np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(rows).all() and (length > 0).all()):
        raise ValueError(f'{path}: an embedding is 0 or not finite')
    return {str(name).strip(): row for name, row in zip(names, rows / length, strict=True)}


def write_text_embeddings(path: str | Path, embeddings: Mapping[str, np.ndarray]) -> None:
    """Write what :func:`read_text_embeddings` reads, complete or not at all."""
    with whole_file(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, names=np.array([*embeddings], 'U'), embedding=np.stack([*embeddings.values()]))
