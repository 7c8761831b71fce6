"""Image-level labels as plain numpy arrays."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mmseg.registry import TASK_UTILS

from .base import Entry, ImageLabelSource
from .problems import UNREADABLE, Problems

_HOW = "write it with np.savez(path, names=np.array(names, 'U'), labels=multi_hot, classes=np.array(classes, 'U'))"


@TASK_UTILS.register_module()
class LabelArrays(ImageLabelSource):
    """An ``.npz`` of ``names`` (N,) text, ``labels`` (N, C) of 0 and 1, and ``classes`` (C,) text.

    The columns are matched by the names in ``classes``, not by position. Pickled (object) arrays are never read.

    Args:
        path: the ``.npz`` file.
        ignore_tags: names among ``classes`` of the file that are dropped on purpose.
    """

    def __init__(self, *, path: str | Path, ignore_tags: Sequence[str] = ()) -> None:
        super().__init__(ignore_tags=ignore_tags)
        self.path = Path(path)

    def read(self, classes: tuple[str, ...], problems: Problems) -> Iterator[Entry]:
        """Yield one entry per row; positions are rows (``labels.npz: names[3]``)."""
        arrays = self._arrays(problems)
        names, labels, columns = (arrays[key] for key in ('names', 'labels', 'classes'))
        if names.dtype.kind != 'U' or columns.dtype.kind != 'U' or names.ndim != 1 or columns.ndim != 1:
            problems.stop(UNREADABLE, f'{self.path}: names and classes should be 1-D text arrays; {_HOW}')
        if labels.shape != (len(names), len(columns)) or labels.dtype.kind not in 'biuf':
            problems.stop(
                UNREADABLE,
                f'{self.path}: labels should be numbers of shape ({len(names)}, {len(columns)}), names x classes, '
                f'but are {labels.dtype} {labels.shape}',
            )
        for row in np.flatnonzero(((labels != 0) & (labels != 1)).any(axis=1)):
            problems.add(UNREADABLE, f'{self.path}: labels[{row}] ({names[row]}): has values other than 0 and 1')
        for row, name in enumerate(names.tolist()):
            yield Entry(name, columns[labels[row] == 1].tolist(), f'{self.path}: names[{row}]')

    def _arrays(self, problems: Problems) -> dict[str, np.ndarray]:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in ('names', 'labels', 'classes')}
        except KeyError as error:
            problems.stop(UNREADABLE, f'{self.path}: an array is missing: {error.args[0]}; {_HOW}')
        except FileNotFoundError:
            problems.stop(UNREADABLE, f'{self.path}: No such file or directory')
        except Exception:  # numpy and zipfile raise many kinds of errors for a file that is not a plain .npz
            problems.stop(UNREADABLE, f'{self.path}: not an .npz of plain arrays (pickled objects are refused); {_HOW}')
