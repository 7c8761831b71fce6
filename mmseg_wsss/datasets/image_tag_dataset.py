"""Images with image-level tags, with or without masks."""

import os.path as osp
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TASK_UTILS

from mmseg_wsss.structures import IGNORE, multi_hot

from .image_files import check_images, find_images, is_supported, listed_images
from .image_labels import ImageLabel, ImageLabelSource, Problems, check_classes
from .image_labels.names import IMAGE_SUFFIXES, files_by_name, image_name, same_file_content, without_folder
from .image_labels.problems import DUPLICATE, MISSING_IMAGE, MISSING_MASK, NO_ENTRY
from .palette import voc_palette


@DATASETS.register_module()
class ImageTagDataset(BaseSegDataset):
    """A folder of images and a source of tags; masks, where there are any, only serve evaluation.

    The difference from mmseg's data sets is ``gt_label`` (int64 array of foreground class indices, sorted) and
    ``gt_score`` (float32 multi-hot (C,)) in every sample, and that everything wrong with names, tags and missing
    files is reported at once when the data set is built. Segmentation id k + 1 is class k, id 0 is background.

    .. code-block:: python

        dict(type='ImageTagDataset', data_root='photos', classes=('cat', 'dog'), data_prefix=dict(img_path='images'),
             image_labels=dict(type='TagFile', path='tags.csv'), pipeline=...)

    Args:
        classes: foreground class names, 1..1000.
        image_labels: config of an image-label source; its relative ``path`` or ``root`` is below ``data_root``.
            ``None``: the images have no labels, as on a test server; they get no ``gt_label``.
        data_root: folder that relative paths start from.
        data_prefix: ``img_path`` and, where there are masks, ``seg_map_path``; a mask has the name of its image.
        ann_file: optional split list, one image per line, with or without extension. Without it every image in the
            folder is taken; each image then needs an entry in the labels, and each entry an image.
        untagged: how training treats images whose entry is empty (after ``ignore_tags`` of the source): ``'skip'``
            leaves them out, ``'background'`` keeps them as images that show none of the classes. The log has their
            number. With ``test_mode`` every image stays: what is found on such an image is an error.
        img_suffix: image extension(s) to take, in upper or lower case; all common ones by default.
        check_images: whether a training set looks into every image file when it is built, so that a damaged one is
            told then and does not end the training; see :func:`image_files.image_error`.
        kwargs: of ``mmseg.datasets.BaseSegDataset`` (``pipeline``, ``test_mode``, ``seg_map_suffix``, ``indices`` ...).

    Raises:
        ImageLabelError: with all problems with labels and files; the message names the files.
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str],
        image_labels: dict | None,
        data_root: str = '',
        data_prefix: dict | None = None,
        ann_file: str = '',
        untagged: str = 'skip',
        img_suffix: str | tuple[str, ...] = IMAGE_SUFFIXES,
        check_images: bool = True,
        **kwargs: Any,
    ) -> None:
        if untagged not in ('skip', 'background'):
            raise ValueError(f"untagged should be 'skip' or 'background', got {untagged!r}")
        self.foreground = check_classes(classes)
        self.untagged = untagged
        self.check_images = check_images
        prefix = {key: path for key, path in (data_prefix or {'img_path': ''}).items() if path is not None}
        if 'seg_map_path' in prefix and len(self.foreground) >= IGNORE:
            raise ValueError(f'8-bit masks hold at most {IGNORE - 1} classes, got {len(self.foreground)}')
        self.image_labels = None if image_labels is None else _build_source(image_labels, data_root)
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
            metainfo={'classes': ('background', *self.foreground), 'palette': voc_palette(len(self.foreground) + 1)},
            data_root=data_root,
            data_prefix=prefix,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Match images, labels and masks.

        Raises:
            ImageLabelError: with all problems at once.
        """
        problems = Problems()
        data_list = self.gather(problems)
        if self.check_images and not self.test_mode:
            check_images((data_info['img_path'] for data_info in data_list), problems)
        problems.raise_if_any()
        return self._apply_untagged(data_list)

    def gather(self, problems: Problems) -> list[dict]:
        """All images that have an entry, also those without tags; problems are noted in ``problems``, not raised.

        Raises:
            DataSetError: there is nothing to continue with: no folder, no list, no labels.
        """
        labels = None if self.image_labels is None else self.image_labels.collect(self.foreground, problems)
        folder = self.data_prefix['img_path']
        images = find_images(folder, self.img_suffix, problems, exclude=self.data_prefix.get('seg_map_path'))
        if labels is not None:
            labels = self._of_images(labels, images, problems)
        if self.ann_file:
            chosen = dict(listed_images(self.ann_file, images, folder, problems))
        elif labels is None:
            chosen = {path: osp.join(folder, path) for path in images.values()}
        else:
            chosen = self._matched(images, labels, problems)
        masks = self._masks()
        data_list = []
        problems.advise(
            MISSING_MASK, 'an image that is evaluated needs its mask: ann_file may list those that have one'
        )
        for path, where in chosen.items():
            if not is_supported(folder, path, where, problems):
                continue
            label = None if labels is None else labels.get(self.image_labels.name_of(path))
            if labels is not None and label is None:
                problems.add(NO_ENTRY, f'{where}: {path!r} has no entry (an image without tags has an empty one)')
                continue
            mask = None if masks is None else masks.get(image_name(path))
            if masks is not None and mask is None:
                missing = osp.join(self.data_prefix['seg_map_path'], image_name(path) + self.seg_map_suffix)
                problems.add(MISSING_MASK, f'{where}: {missing}')
            data_list.append(self._data_info(path, label, mask))
        return data_list

    def get_data_info(self, idx: int) -> dict:
        """As in mmengine, with ``gt_score`` (C,), which is cheaper to compute than to store for a thousand classes."""
        data_info = super().get_data_info(idx)
        if 'gt_label' in data_info:
            data_info['gt_score'] = multi_hot(data_info['gt_label'], len(self.foreground))
        return data_info

    def get_cat_ids(self, idx: int) -> list[int]:
        """Foreground class indices of an image, for mmengine's ``ClassBalancedDataset``."""
        return super().get_data_info(idx)['gt_label'].tolist()

    def _of_images(
        self, labels: dict[str, ImageLabel], images: dict[str, str], problems: Problems
    ) -> dict[str, ImageLabel]:
        """The labels by the names of the images: some people write ``images/a.jpg`` for ``a.jpg`` in ``images``."""
        names = {self.image_labels.name_of(path) for path in images.values()}
        found: dict[str, ImageLabel] = {}
        for name, label in labels.items():
            first = found.setdefault(without_folder(name, names, self.data_prefix['img_path']), label)
            if first is not label:
                problems.add(DUPLICATE, f'{label.where}: {name!r} is labelled already in {first.where}')
        return found

    def _matched(self, images: dict[str, str], labels: dict[str, ImageLabel], problems: Problems) -> dict[str, str]:
        """Relative path -> position of all images; every entry of the labels needs its image."""
        folder = self.data_prefix['img_path']
        by_label: dict[str, str] = {}
        for path in images.values():
            first = by_label.setdefault(self.image_labels.name_of(path), path)
            # Class folders hold copies of an image with several tags: the first copy is used.
            if first != path and not same_file_content(osp.join(folder, first), osp.join(folder, path)):
                problems.add(DUPLICATE, f'{osp.join(folder, path)}: labelled under the same name as {first}')
        for name, label in labels.items():
            if name not in by_label:
                problems.add(MISSING_IMAGE, f'{label.where}: {name!r} is not in {folder}')
        return {path: osp.join(folder, path) for path in by_label.values()}

    def _masks(self) -> dict[str, str] | None:
        """Name -> relative path of the masks; None for a data set without masks."""
        folder = self.data_prefix.get('seg_map_path')
        return None if folder is None else files_by_name(folder, self.seg_map_suffix)

    def _data_info(self, path: str, label: ImageLabel | None, mask: str | None) -> dict:
        data_info = {
            'img_path': osp.join(self.data_prefix['img_path'], path),
            'label_map': self.label_map,
            'reduce_zero_label': self.reduce_zero_label,
            'seg_fields': [],
        }
        if label is not None:
            data_info['gt_label'] = np.array(label.indices, dtype=np.int64)
        if mask is not None:
            data_info['seg_map_path'] = osp.join(self.data_prefix['seg_map_path'], mask)
        return data_info

    def _apply_untagged(self, data_list: list[dict]) -> list[dict]:
        """Apply ``untagged`` and log what the data set holds."""
        if self.image_labels is None:
            print_log(f'ImageTagDataset: {len(data_list)} images without labels', logger='current')
            return data_list
        tagged = [data_info for data_info in data_list if data_info['gt_label'].size]
        skip = self.untagged == 'skip' and not self.test_mode
        kept = tagged if skip else data_list
        counts = Counter(k for data_info in tagged for k in data_info['gt_label'].tolist())
        per_class = ', '.join(f'{name} {counts[k]}' for k, name in enumerate(self.foreground) if counts[k])
        empty = ', '.join(name for k, name in enumerate(self.foreground) if not counts[k])
        fate = 'skipped' if skip else 'kept as background'
        print_log(
            f'ImageTagDataset: {len(kept)} images, {len(data_list) - len(tagged)} without tags {fate}; {per_class}'
            + (f'; no image of {empty}' if empty else ''),
            logger='current',
        )
        if not kept:
            raise ValueError(f'no image has a tag among {", ".join(self.foreground)}')
        return kept


def _build_source(image_labels: dict, data_root: str) -> ImageLabelSource:
    places = {key: osp.join(data_root, image_labels[key]) for key in ('path', 'root') if key in image_labels}
    return TASK_UTILS.build({**image_labels, **places})
