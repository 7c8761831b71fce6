"""From photos to masks with a trained network."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..datasets.image_labels.names import IMAGE_SUFFIXES, UNREAD_SUFFIXES, image_name, list_files
from ..datasets.palette import voc_palette
from ..engine import check_checkpoints
from ..models import CAMSegmentor
from ..progress import progress_bar
from ..pseudo_labels import Unreadable, as_it_is, choose_source, load_model, sample_or_unreadable, without_masks
from ..structures import class_probabilities

Image = str | os.PathLike | np.ndarray


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of one image, at the size of the image as it is looked at (EXIF orientation applied).

    Attributes:
        path: of the image; None for an array.
        ids: (H, W) uint8, the class of each pixel: an index of ``classes``, the maximum of ``scores``.
        scores: (K, H, W) float32, the softmax over ``classes``; of a network with CAMs alone its background threshold,
            then its CAMs.
        cams: name -> (C, H, W) float32 in [0, 1), one map per class without background; empty unless
            ``init_model(cams=True)``.
        classes: names of the ids, ``background`` first.
        palette: RGB in 0..255 per class.
    """

    path: str | None
    ids: np.ndarray
    scores: np.ndarray
    cams: dict[str, np.ndarray]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def shares(self) -> dict[str, float]:
        """Share of the pixels, in (0, 1], of each class that is on the image."""
        counts = np.bincount(self.ids.ravel(), minlength=len(self.classes))
        return {name: int(n) / self.ids.size for name, n in zip(self.classes, counts, strict=True) if n}


def init_model(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    *,
    device: str | torch.device | None = None,
    cams: bool = False,
) -> nn.Module:
    """Build a network with every weight of a checkpoint, ready for :func:`predict` and mmseg's ``inference_model``.

    Args:
        config: of the network: of this package or any other of mmseg.
        checkpoint: file; nothing in it is run. None for a network that needs none, such as ``CLIPCAM``.
        device: where to; the GPU by default, where there is one.
        cams: whether predictions have CAMs beside the segmentation.

    Returns:
        The network in evaluation mode. ``cfg`` is its config and ``dataset_meta`` has its classes and palette: those
        that the training wrote into the checkpoint, else the config's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the checkpoint does not fit the config, neither names the classes, there are more than 256 of them,
            CAMs are wanted of a network that has none, or there is no such device.
    """
    cfg = config if isinstance(config, Config) else Config.fromfile(config)
    check_checkpoints(cfg)  # some backbones read one when they are built
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    source = choose_source(cfg.model, 'cam' if cams else 'seg')
    file = None if checkpoint is None else str(checkpoint)
    model = load_model(MODELS.build(cfg.model), cfg, file, source=source)
    if isinstance(model, CAMSegmentor) and not model.with_decode_head:  # its CAMs are all that it has
        model.test_cfg['cam'] = True
    if cfg.get('test_pipeline') is None:  # where mmseg's own functions look for it
        if cfg.get('test_dataloader') is None:
            raise ValueError(f'{cfg.filename} has neither a test_pipeline nor a test_dataloader')
        cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    model.cfg, model.dataset_meta = cfg, model.dataset_meta or _classes_of(cfg)
    if len(model.dataset_meta['classes']) > 256:
        raise ValueError(f'masks hold at most 256 classes, got {len(model.dataset_meta["classes"])}')
    try:
        return model if device is None else model.to(device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'device {device}: {error}') from error


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Image | Sequence[Image],
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    unreadable: list[Unreadable] | None = None,
) -> Iterator[Prediction]:
    """Segment images one after the other; image-level labels are neither needed nor used.

    .. code-block:: python

        model = init_model('config.py', 'iter_4000.pth')
        for one in predict(model, 'photos'):
            print(one.path, one.shares())

    Args:
        model: of :func:`init_model`.
        images: a file, a folder (all images below it, sorted), an array as mmcv reads it (H, W, 3) uint8 BGR, or
            several of these.
        batch_size: images of equal size that follow each other go through the network together, at most so many.
        num_workers: processes that read ahead.
        unreadable: where images that cannot be read are noted, with the reason, while the rest is done.

    Yields:
        One prediction per image, in order.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a folder has no images; or an image cannot be read and there is no ``unreadable``.
    """
    if batch_size < 1:
        raise ValueError(f'batch_size must be at least 1, got {batch_size}')
    samples = _Samples(list_images(images), model.cfg)
    loader = DataLoader(samples, batch_size=None, num_workers=num_workers, collate_fn=as_it_is)
    with progress_bar(total=len(samples), text='predict', delay=2) as bar:
        for batch in _batches(loader, batch_size):
            bar.update(len(batch))
            if isinstance(batch[0], Unreadable):
                if unreadable is None:
                    raise ValueError(batch[0].error)
                unreadable += batch
            else:
                yield from (_prediction(model, sample) for sample in model.test_step(pseudo_collate(batch)))


def list_images(images: Image | Sequence[Image]) -> list[Image]:
    """Files and arrays in order, each folder replaced by the images below it; raises as :func:`predict` does."""
    found: list[Image] = []
    for one in [images] if isinstance(images, Image) else images:
        if isinstance(one, np.ndarray):
            if one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3:
                raise ValueError(f'an image array is (H, W, 3) uint8 BGR, got {one.shape} {one.dtype}')
            found.append(one)
        elif os.path.isdir(one):
            names = list_files(one, IMAGE_SUFFIXES)
            read = set(map(image_name, names))
            # such as HEIC: to be named among those that cannot be read, unless it was converted
            names += [name for name in list_files(one, UNREAD_SUFFIXES) if image_name(name) not in read]
            if not names:
                raise ValueError(f'{os.fspath(one)}: no image in this folder ({", ".join(IMAGE_SUFFIXES)})')
            found += [os.path.join(one, name) for name in sorted(names)]
        elif os.path.isfile(one):
            found.append(os.fspath(one))
        else:
            raise FileNotFoundError(f'{os.fspath(one)}: no such image or folder')
    return found


class _Samples(Dataset):
    """What the test pipeline of a config makes of images, without anything that knows their labels."""

    def __init__(self, images: Sequence[Image], cfg: Config) -> None:
        steps = [step for step in without_masks(cfg.test_pipeline) if step['type'] != 'LoadImageLabels']
        self.images, self.file, self.array = images, Compose(steps), Compose(steps[1:])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any] | Unreadable:
        image = self.images[index]
        if isinstance(image, np.ndarray):
            size = image.shape[:2]
            return self.array(dict(img=image, img_shape=size, ori_shape=size, img_path=None))
        return sample_or_unreadable(lambda: self.file(dict(img_path=image)), image)


def _classes_of(cfg: Config) -> dict[str, Any]:
    """Classes and palette as the data sets of a config name them, for a checkpoint that says nothing of them."""
    datasets = [(cfg.get(f'{part}_dataloader') or {}).get('dataset') or {} for part in ('test', 'val', 'train')]
    names = next((one.get('classes') for one in datasets if one.get('classes')), None)
    if names is None:
        raise ValueError(
            f'{cfg.filename}: neither the checkpoint (meta.dataset_meta) nor a data set of the config names classes: '
            'add classes=(...) to test_dataloader.dataset'
        )
    return dict(classes=('background', *names), palette=voc_palette(len(names) + 1))


def _batches(samples: Iterable[dict | Unreadable], size: int) -> Iterator[list]:
    """Up to ``size`` samples that follow each other and whose inputs have one shape; unreadable ones by themselves."""
    shape = lambda one: None if isinstance(one, Unreadable) else one['inputs'].shape  # noqa: E731
    for _, alike in groupby(samples, shape):
        while batch := list(islice(alike, size)):
            yield batch


def _prediction(model: nn.Module, sample: SegDataSample) -> Prediction:
    cams = {name: sample.get(name).data for name in sample.get('cam_names', ())}
    of_cams = 'seg_logits' not in sample
    scores = model.with_background(cams[sample.cam_names[0]]) if of_cams else class_probabilities(sample)
    meta = model.dataset_meta
    return Prediction(
        path=sample.get('img_path'),
        ids=sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8),
        scores=scores.float().cpu().numpy(),
        cams={name: cam.float().cpu().numpy() for name, cam in cams.items()},
        classes=tuple(meta['classes']),
        palette=tuple(tuple(colour) for colour in meta['palette']),
    )
