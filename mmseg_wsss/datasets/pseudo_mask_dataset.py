"""Images and the masks that a labelling tool wrote for them, checked before training starts."""

import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_wsss.structures import IGNORE

from ..progress import progress_bar
from .image_files import find_images, is_supported, listed_images
from .image_labels import Problems, check_classes
from .image_labels.names import IMAGE_SUFFIXES, files_by_name, image_name
from .image_labels.problems import MISSING_MASK, UNREADABLE, PseudoMaskError
from .label_map import manifest_classes
from .mask_files import WRONG_ID, misfits, read_mask, upright_size
from .open_image import open_image
from .palette import voc_palette

NOTHING = 'mask without a labelled pixel'
MISSING_GROUND_TRUTH = 'image whose ground-truth mask is missing'

_ADVICE = {
    MISSING_MASK: 'run tools/make_pseudo_labels.py again: it continues where it stopped',
    WRONG_ID: 'the masks were made for other classes, or hold values other than the ids 0..C and 255',
    NOTHING: 'all their pixels are 255: remove these images from ann_file, or lower the threshold of the labels',
    MISSING_GROUND_TRUTH: 'it is only used for the log: data_prefix.ground_truth_path=None trains without it',
}
_SHOWN_AFTER = 10.0  # seconds


class _Sample(NamedTuple):
    """Absolute paths of an image and its mask, and the line that lists the image."""

    image: str
    mask: str
    where: str


@DATASETS.register_module()
class PseudoMaskDataset(BaseSegDataset):
    """A folder of images and a folder of masks made by a labelling tool: the training set of a second stage.

    The difference from mmseg's data sets is that all problems with the masks are reported at once when the data set is
    built: missing files, sizes other than the (upright) image's, colours instead of ids, ids without a class, masks of
    255 only. For that every mask is decoded once, in about 2 ms (VOC's 10,582 in about 20 s, COCO's 82,081 in about
    3 min); progress is shown if it takes longer than 10 s.

    .. code-block:: python

        dict(type='PseudoMaskDataset', data_root='data/VOCdevkit/VOC2012', classes=('cat', 'dog'),
             data_prefix=dict(img_path='JPEGImages', ground_truth_path='SegmentationClassAug'),
             mask_dir='work_dirs/weaktr/pseudo/SegmentationClass',
             ann_file='ImageSets/Segmentation/train_aug.txt', pipeline=...)

    Args:
        classes: foreground class names; id k + 1 is class k, id 0 background, 255 is ignored.
        mask_dir: folder of the masks, named like their images: what ``tools/make_pseudo_labels.py --out FOLDER``
            writes to ``FOLDER/SegmentationClass``. Unlike the other paths it is not relative to ``data_root``.
        data_root: folder that the relative paths of ``data_prefix`` and ``ann_file`` start from.
        data_prefix: ``img_path`` and, to log the precision of the pseudo-masks, ``ground_truth_path``, a folder of
            ground-truth masks (see ``LoadGroundTruth``), which are never trained on.
        ann_file: optional split list, one image per line; without it every image in the folder is taken.
        img_suffix: image extension(s) to take, in upper or lower case.
        kwargs: of ``mmseg.datasets.BaseSegDataset``.

    Raises:
        PseudoMaskError: with all problems with the files.
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str],
        mask_dir: str,
        data_root: str = '',
        data_prefix: dict | None = None,
        ann_file: str = '',
        img_suffix: str | tuple[str, ...] = IMAGE_SUFFIXES,
        **kwargs: Any,
    ) -> None:
        self.foreground = check_classes(classes)
        if len(self.foreground) >= IGNORE:
            raise ValueError(f'8-bit masks hold at most {IGNORE - 1} classes, got {len(self.foreground)}')
        prefix = {key: path for key, path in (data_prefix or {'img_path': ''}).items() if path is not None}
        if 'seg_map_path' in prefix:
            raise ValueError('data_prefix has seg_map_path; the folder of the masks is mask_dir')
        self.mask_dir = mask_dir
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
            metainfo={'classes': ('background', *self.foreground), 'palette': voc_palette(len(self.foreground) + 1)},
            data_root=data_root,
            data_prefix=prefix,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Match images and masks.

        Raises:
            PseudoMaskError: with all problems at once.
        """
        problems = Problems(PseudoMaskError)
        for kind, advice in _ADVICE.items():
            problems.advise(kind, advice)
        data_list = self.gather(problems)
        problems.raise_if_any()
        return data_list

    def gather(self, problems: Problems) -> list[dict]:
        """As :meth:`load_data_list`, with problems noted in ``problems`` rather than raised.

        Raises:
            DataSetError: there is nothing to continue with: no folder, no list, no mask.
        """
        folder = self.data_prefix['img_path']
        images = find_images(folder, self.img_suffix, problems)
        masks = files_by_name(self.mask_dir, self.seg_map_suffix)
        if not masks:
            problems.stop(
                UNREADABLE,
                f'{self.mask_dir}: no {self.seg_map_suffix} mask in it; make them with tools/make_pseudo_labels.py '
                '--out FOLDER and set mask_dir to FOLDER/SegmentationClass',
            )
        self._check_manifest(problems)
        chosen = listed_images(self.ann_file, images, folder, problems) if self.ann_file else self._all(images, folder)
        samples = [
            _Sample(osp.join(folder, path), osp.join(self.mask_dir, self._mask_of(path, masks)), where)
            for path, where in chosen
            if is_supported(folder, path, where, problems)
        ]
        bar = progress_bar(samples, text='masks checked', unit=' masks', delay=_SHOWN_AFTER)
        for sample, findings in zip(bar, self._inspected(samples), strict=True):
            for kind, text in findings:
                problems.add(kind, f'{sample.where}: {text}')
        truth = self.data_prefix.get('ground_truth_path')
        ground_truths = None if truth is None else files_by_name(truth, self.seg_map_suffix)
        return [self._data_info(sample, folder, ground_truths, problems) for sample in samples]

    def _check_manifest(self, problems: Problems) -> None:
        """Compare the classes with those in the manifest of ``make_pseudo_labels.py``, where there is one."""
        manifest = Path(self.mask_dir).parent / 'manifest.json'
        if not manifest.is_file():
            return
        with problems.stopping(UNREADABLE):
            there = manifest_classes(manifest)
        here = self.metainfo['classes']
        if there is not None and there != here:
            text = f'the masks are of the classes {list(there)}, the data set has {list(here)}'
            problems.stop(WRONG_ID, f'{manifest}: {text}')

    def _mask_of(self, path: str, masks: Mapping[str, str]) -> str:
        """Relative path of the mask of an image, also where it is missing."""
        name = image_name(path)
        return masks.get(name, name + self.seg_map_suffix)

    @staticmethod
    def _all(images: dict[str, str], folder: str) -> Iterator[tuple[str, str]]:
        """Every image of the folder, with its path as position."""
        for path in images.values():
            yield path, osp.join(folder, path)

    def _inspected(self, samples: Sequence[_Sample]) -> Iterator[list[tuple[str, str]]]:
        """Findings of each sample in turn; decoding releases the interpreter lock, so that threads share the work."""
        with ThreadPoolExecutor() as pool:
            yield from pool.map(lambda sample: inspect(sample.image, sample.mask, len(self.foreground)), samples)

    def _data_info(
        self, sample: _Sample, folder: str, ground_truths: Mapping[str, str] | None, problems: Problems
    ) -> dict:
        data_info = {
            'img_path': sample.image,
            'seg_map_path': sample.mask,
            'label_map': self.label_map,
            'reduce_zero_label': self.reduce_zero_label,
            'seg_fields': [],
        }
        if ground_truths is not None:
            name = self._mask_of(osp.relpath(sample.image, folder), ground_truths)
            path = osp.join(self.data_prefix['ground_truth_path'], name)
            data_info['ground_truth_path'] = path
            if not osp.isfile(path):
                problems.add(MISSING_GROUND_TRUTH, f'{sample.where}: {path}')
        return data_info


def inspect(image: str, mask: str, num_classes: int) -> list[tuple[str, str]]:
    """What is wrong with one pseudo-mask.

    Args:
        image, mask: paths of the files; of the image only the header is read.
        num_classes: foreground classes C; the mask may hold 0..C and 255.

    Returns:
        kind and text of every finding.
    """
    if not osp.isfile(mask):
        return [(MISSING_MASK, mask)]
    try:
        content = read_mask(mask)
        with open_image(image) as opened:
            size = upright_size(opened)
    except (OSError, ValueError) as error:
        return [(UNREADABLE, str(error))]
    findings = misfits(mask, content, image, size, {*range(num_classes + 1), IGNORE})
    if content.ids == [IGNORE]:
        findings.append((NOTHING, mask))
    return findings
