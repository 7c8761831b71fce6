"""The images to label: which, from where, into which file, and reading that tolerates damaged files."""

import copy
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader, Dataset, Subset

from ..datasets.mask_files import is_whole_palette_png
from ..datasets.transforms import read_image
from ..evaluation import mask_path
from ..fileio import leftovers

MASKS, SOFT = 'SegmentationClass', 'SoftScores'


class Unreadable(NamedTuple):
    """An image that could not be labelled, and why."""

    path: str
    error: str


def sample_or_unreadable(make: Callable[[], dict], path: str) -> dict | Unreadable:
    """The sample that a pipeline makes of an image file, or what is wrong with the file.

    Raises:
        Exception: the pipeline's own, where the image file is not to blame.
    """
    try:
        return make()
    except Exception:  # each loader has its own kinds of error: the file itself decides
        try:
            read_image(path)
        except (OSError, ValueError) as error:
            return Unreadable(path, str(error))
        raise


def build_dataset(config: dict, *, split: str | None = None, masks: bool = False) -> BaseDataset:
    """Build a data set for inference.

    Args:
        config: Config of an mmseg data set.
        split: Replaces its ``ann_file``; below ``data_root``, or else below the working directory.
        masks: Whether the masks are needed. If not, they are neither searched nor loaded.

    Raises:
        ValueError: the data set has no ``data_prefix.seg_map_path`` but ``masks`` are needed, or is a wrapper of
            others and cannot take a ``split``.
    """
    config = copy.deepcopy(dict(config))
    config['test_mode'] = True  # mmengine draws another image instead of an unreadable one otherwise
    if split is not None:
        if 'dataset' in config or 'datasets' in config:
            raise ValueError(f'{config.get("type")} wraps other data sets and has no ann_file that a split can replace')
        config['ann_file'] = _split_file(config.get('data_root') or '', split)
    prefix = dict(config.get('data_prefix') or {'img_path': ''})
    if masks and prefix.get('seg_map_path') is None:
        raise ValueError('a sweep needs masks: set data_prefix.seg_map_path of test_dataloader.dataset')
    if not masks:
        prefix.pop('seg_map_path', None)
        config['pipeline'] = without_masks(config['pipeline'])
    config['data_prefix'] = prefix
    return DATASETS.build(config)


def without_masks(pipeline: Sequence[Any]) -> list[Any]:
    """A pipeline without the steps that load masks, also inside ``TestTimeAug``."""
    kept = []
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            inner = without_masks(step)
            kept += [inner] if inner or not step else []
        elif 'transforms' in step:
            kept.append(dict(step, transforms=without_masks(step['transforms'])))
        elif str(step['type']).split('.')[-1] not in ('LoadAnnotations', 'LoadMask'):
            kept.append(step)
    return kept


class ImageList(Dataset):
    """The images of a data set and their output files below ``out_dir``.

    Args:
        dataset: An mmseg data set in test mode.
        out_dir: Output folder.
        soft: Whether soft scores are written in addition to the masks.

    Raises:
        ValueError: two images would be written to one file, or one is not below the image folder.
    """

    def __init__(self, dataset: BaseDataset, out_dir: str | Path, *, soft: bool = False) -> None:
        self.dataset, self.out_dir, self.soft = dataset, Path(out_dir), soft
        root = dataset.data_prefix.get('img_path')
        self.infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        self.paths = [info['img_path'] for info in self.infos]
        self.names: list[Path] = [mask_path(path, '', root).with_suffix('') for path in self.paths]
        seen: dict[Path, str] = {}
        for name, path in zip(self.names, self.paths, strict=True):
            if seen.setdefault(name, path) is not path:
                raise ValueError(f'{path} and {seen[name]} would both be written to {name}.png')

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, dict | Unreadable]:
        """The sample of the pipeline, or what is wrong with the image file; see :func:`sample_or_unreadable`."""
        return index, sample_or_unreadable(lambda: self.dataset[index], self.paths[index])

    def load(self, indices: Sequence[int], num_workers: int = 0) -> Iterator[tuple[int, dict | Unreadable]]:
        """Read these images in this order, in ``num_workers`` processes ahead of the network."""
        return iter(DataLoader(Subset(self, indices), batch_size=None, num_workers=num_workers, collate_fn=as_it_is))

    def mask(self, index: int) -> Path:
        """The mask's file."""
        return self.out_dir / MASKS / f'{self.names[index]}.png'

    def soft_scores(self, index: int) -> Path | None:
        """The soft scores' file; None where none are written."""
        return self.out_dir / SOFT / f'{self.names[index]}.npz' if self.soft else None

    def clean(self, indices: Sequence[int] | None = None) -> None:
        """Remove the temporary files of a run that was killed.

        Args:
            indices: Only those of these images, where others are being written; all by default.
        """
        own = None
        if indices is not None:
            own = {file for index in indices for file in (self.mask(index), self.soft_scores(index))}
        for temporary, file in leftovers(self.out_dir).items():
            if own is None or file in own:
                temporary.unlink(missing_ok=True)

    def left(self, indices: Sequence[int] | None = None) -> list[int]:
        """Indices of the images whose output files are not complete.

        Files get their names only when they are complete; those that were damaged later (by a full disk or a power
        failure) are detected by their checksums and written again.

        Args:
            indices: Which images to check; all by default.
        """
        looked_at = range(len(self)) if indices is None else indices
        return [index for index in looked_at if not are_whole(self.mask(index), self.soft_scores(index))]

    def fingerprint(self, *, tags: bool) -> dict[str, Any]:
        """Number and hash of the images' names and, with ``tags``, of the data set's image-level labels.

        Pixels, and labels that are loaded by a step of the pipeline, are not included.
        """
        digest = hashlib.sha256()
        for name, info in zip(self.names, self.infos, strict=True):
            label = [int(k) for k in info.get('gt_label', ())] if tags else []
            digest.update(f'{name.as_posix()} {label}\n'.encode())
        return {'count': len(self), 'sha256': digest.hexdigest()}


def are_whole(mask: Path, soft: Path | None) -> bool:
    """Whether an image's mask and, where they are written, soft scores are there and undamaged."""
    return (soft is None or zipfile.is_zipfile(soft)) and is_whole_palette_png(mask)


def as_it_is(sample: Any) -> Any:
    """Samples have different sizes and are not batched."""
    return sample


def _split_file(data_root: str, split: str) -> str:
    """The split list: below the data set's folder first, as ``ann_file`` is."""
    if not os.path.isfile(os.path.join(data_root, split)) and os.path.isfile(split):
        return os.path.abspath(split)
    return split
