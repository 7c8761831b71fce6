"""Everything that is wrong with the files of a data set, found by reading all of them."""

import os.path as osp
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_wsss.datasets import ImageTagDataset, PseudoMaskDataset
from mmseg_wsss.datasets.image_files import strip_error
from mmseg_wsss.datasets.image_labels import Problems
from mmseg_wsss.datasets.image_labels.problems import BROKEN_IMAGE, MISSING_MASK, DataSetError
from mmseg_wsss.datasets.mask_files import misfits, read_mask, upright_size
from mmseg_wsss.datasets.open_image import open_image
from mmseg_wsss.structures import BACKGROUND, IGNORE

BROKEN_MASK = 'mask that cannot be read'
BROKEN_SET = 'data set that cannot be opened'
TAG_WITHOUT_PIXELS = 'tag whose class is nowhere in the mask'
PIXELS_WITHOUT_TAG = 'class in the mask without a tag'
CONTRADICTIONS = (TAG_WITHOUT_PIXELS, PIXELS_WITHOUT_TAG)


class Sample(NamedTuple):
    """One image: paths, the foreground indices of its tags (None: no tags known), and the ids allowed in its mask."""

    image: str
    mask: str | None
    tags: tuple[int, ...] | None
    ids: range
    classes: tuple[str, ...]  # name of each id


def check_sample(sample: Sample) -> tuple[list[tuple[str, str]], list[int]]:
    """Decode an image and its mask.

    Returns:
        kind and text of all that is wrong, and the foreground ids in the mask.
    """
    findings, size = [], None
    try:
        with open_image(sample.image) as image:
            size = upright_size(image)
            if strip := strip_error(size):
                findings.append((BROKEN_IMAGE, f'{sample.image}: {strip}'))
            image.load()
    except (OSError, ValueError) as error:
        findings.append((BROKEN_IMAGE, str(error)))
    if sample.mask is None:
        return findings, []
    if not osp.isfile(sample.mask):
        return [*findings, (MISSING_MASK, f'{sample.image}: {sample.mask}')], []
    try:
        content = read_mask(sample.mask)
    except (OSError, ValueError) as error:
        return [*findings, (BROKEN_MASK, str(error))], []
    findings += misfits(sample.mask, content, sample.image, size or content.size, {*sample.ids, IGNORE})
    shown = [i for i in content.ids if i in sample.ids and i != BACKGROUND]
    if sample.tags is not None:
        tagged = {k + 1 for k in sample.tags}
        for kind, ids in ((TAG_WITHOUT_PIXELS, tagged.difference(shown)), (PIXELS_WITHOUT_TAG, {*shown} - tagged)):
            if ids:
                findings.append((kind, f'{sample.mask}: {", ".join(sample.classes[i] for i in sorted(ids))}'))
    return findings, shown


@dataclass
class OpenedSet:
    """A data set of a config, as far as it could be opened."""

    samples: list[Sample] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    problems: dict[str, list[str]] = field(default_factory=dict)


def leaf_configs(config: dict) -> Iterator[dict]:
    """The data sets inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    if 'dataset' in config:
        yield from leaf_configs(config['dataset'])
    elif 'datasets' in config:
        for inner in config['datasets']:
            yield from leaf_configs(inner)
    else:
        yield config


def open_set(config: dict) -> OpenedSet:
    """Open an mmseg data set of any type; problems with its lists, names and tags are collected, not raised.

    ``ImageTagDataset`` and ``PseudoMaskDataset`` continue after a problem, so that their files can still be checked;
    mmseg's data sets stop at the first problem.
    """
    opened, problems, infos = OpenedSet(), Problems(DataSetError), None
    try:
        dataset: BaseSegDataset = DATASETS.build({**config, 'pipeline': [], 'lazy_init': True})
        opened.classes = tuple(dataset.metainfo['classes'] or ())
        infos = dataset.gather(problems) if hasattr(dataset, 'gather') else dataset.load_data_list()
        problems.raise_if_any()
    except DataSetError as error:
        opened.problems.update(error.problems)
    except (OSError, ValueError, TypeError, KeyError, AssertionError) as error:
        opened.problems[BROKEN_SET] = [f'{config.get("type")}: {error}']
    for info in infos or ():
        tags = tuple(info['gt_label'].tolist()) if 'gt_label' in info else None
        mask = info.get('seg_map_path')
        # PseudoMaskDataset has already read its masks, and ImageTagDataset has already reported the missing ones.
        if isinstance(dataset, PseudoMaskDataset) or (isinstance(dataset, ImageTagDataset) and not _is_file(mask)):
            mask = None
        opened.samples.append(Sample(info['img_path'], mask, tags, _ids(dataset), opened.classes))
    return opened


def _is_file(path: str | None) -> bool:
    return path is not None and osp.isfile(path)


def _ids(dataset: BaseSegDataset) -> range:
    """The ids that the mask files of a data set may hold, before mmseg changes them."""
    if dataset.label_map:  # from the ids of the files to the classes that are asked for
        return range(max(dataset.label_map) + 1)
    return range(len(dataset.metainfo['classes']) + bool(dataset.reduce_zero_label))


def tag_counts(opened: OpenedSet) -> Counter:
    """How many images have each foreground index; ``None`` counts those whose tags are empty."""
    tags = [sample.tags for sample in opened.samples if sample.tags is not None]
    return Counter(k for label in tags for k in label or (None,))
