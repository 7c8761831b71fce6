"""Image-level labels for any data set of mmseg."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TASK_UTILS, TRANSFORMS

from mmseg_wsss.structures import multi_hot

from ..image_labels import ImageLabelSource
from ..image_labels.names import image_name


@TRANSFORMS.register_module()
class LoadImageLabels(BaseTransform):
    """Give a sample its image-level label, found by the path of its image.

    The source is read once, when the pipeline is built. The label is that of the longest suffix of ``img_path`` that
    the source contains: ``b/c`` rather than ``c`` for ``a/b/c.jpg``. Everything before a ``..`` is ignored.

    Required keys: ``img_path``. Added keys: ``gt_label`` (int64 array of foreground class indices, sorted) and
    ``gt_score`` (float32 multi-hot (C,)).

    Args:
        source: config of an image-label source, for example ``dict(type='TagFile', path='labels.json')``.
        classes: foreground class names, without background.

    Raises:
        ImageLabelError: with all problems with the labels.
    """

    def __init__(self, *, source: dict, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        built: ImageLabelSource = TASK_UTILS.build(source)
        self.labels = built.load(self.classes)

    def transform(self, results: dict) -> dict:
        """Add ``gt_label`` and ``gt_score``.

        Raises:
            KeyError: the source has no entry for the image.
        """
        label = self._find(results['img_path'])
        results['gt_label'] = np.array(label, dtype=np.int64)
        results['gt_score'] = multi_hot(label, len(self.classes))
        return results

    def _find(self, img_path: str) -> list[int]:
        for name in _names(img_path):
            if name in self.labels:
                return self.labels[name]
        raise KeyError(f'{img_path} has no entry in the image-level labels (an image without tags has an empty one)')

    def __repr__(self) -> str:
        return f'{type(self).__name__}(classes={self.classes}, images={len(self.labels)})'


def _names(img_path: str) -> Iterator[str]:
    """The possible names of an image with this path, longest first."""
    path = str(img_path).replace('\\', '/')
    parts: list[str] = []
    for part in path.split('/'):
        if part == '..':
            parts.clear()
        elif part not in ('', '.'):
            parts.append(part)
    for first in range(len(parts)):
        with suppress(ValueError):  # a suffix that begins with a drive is not a name
            yield image_name('/'.join(parts[first:]))
