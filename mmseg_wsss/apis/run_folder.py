"""What a folder of a training holds, and pictures by the networks in it."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from torch import nn

from ..datasets.transforms.load_image import read_image
from ..engine import read_config
from ..evaluation.pixel_counts import label_counts, nan_mean, rates
from ..models import CAMSegmentor
from ..progress import progress_bar
from ..pseudo_labels import Scorer, affinity_of, refiner_of
from ..text_files import read_json, read_text
from ..visualization import Picture
from .inference import init_model


class RunFolder:
    """A folder of a training with its config, last checkpoint, logs and tests; or a config alone.

    Args:
        path: the folder, or the config.
        threshold: background threshold of the labels that were made of it; None: the network's.

    Raises:
        FileNotFoundError: the folder has no config.
    """

    def __init__(self, path: Path, *, threshold: float | None = None) -> None:
        self.threshold = threshold
        self.folder = path if path.is_dir() else path.with_suffix('')  # which of a config alone has nothing in it
        configs = [path]
        if path.is_dir():  # the training's own, which tests leave beside theirs
            configs = [one for one in path.glob('*.py') if not re.search(r'_test(_tta)?(_crf)?$', one.stem)]
            configs.sort(key=lambda one: one.stat().st_mtime)
        if not configs:
            raise FileNotFoundError(f'{path} has no config: give the --work-dir of tools/train.py or run_two_stage.py')
        self.config = configs[-1]
        self.cfg: Config = read_config(self.config)
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))
        last = self.folder / 'last_checkpoint'
        self.checkpoint = self.folder / Path(read_text(last)).name if last.is_file() else None
        kind = MODELS.get(self.cfg.model.type)
        self.has_cams = issubclass(kind, CAMSegmentor)
        self.has_weights = self.checkpoint is not None or not getattr(kind, 'needs_checkpoint', True)

    @cached_property
    def network(self) -> nn.Module:
        """With its weights, for :func:`~mmseg_wsss.apis.predict`; built once."""
        return init_model(self.cfg, self.checkpoint, cams=self.has_cams)

    def tests(self) -> dict[str, dict]:
        """Records of ``tools/test.py`` by name."""
        return {path.stem: read_json(path) for path in sorted(self.folder.glob('test*.json'))}


def stages_of(work_dir: Path) -> dict[str, RunFolder]:
    """The runs of ``tools/run_two_stage.py`` by stage, ``cam`` and ``seg``; a single run has an empty name."""
    stages = [name for name in ('cam', 'seg') if (work_dir / name).is_dir()] or ['']
    threshold = label_threshold(work_dir)
    return {name: RunFolder(work_dir / name, threshold=threshold) for name in stages}


def losses_of(folder: Path) -> list[dict[str, float]]:
    """Lines of a training's log, those of a resumed training in place of the ones before."""
    lines = [
        json.loads(line)
        for file in sorted(folder.glob('*/vis_data/scalars.json'))
        for line in read_text(file).splitlines()
    ]
    found = {line['iter']: line for line in lines if 'loss' in line and 'iter' in line}
    return [found[key] for key in sorted(found)]


def evenly(total: int, count: int) -> list[int]:
    """At most ``count`` indices, spread evenly over 0 .. ``total`` - 1."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def label_threshold(work_dir: Path) -> float | None:
    """The background threshold of the labels that ``tools/run_two_stage.py`` made; None where there are none."""
    if not (manifest := work_dir / 'labels' / 'manifest.json').is_file():
        return None
    made = read_json(manifest)
    return made['found'].get('threshold', made['settings']['threshold'])


def image_iou(mask: np.ndarray, truth: np.ndarray, num_classes: int) -> float | None:
    """Mean IoU of an image over the classes in its mask or its ground truth, in percent; None: all is ignored."""
    if (truth == 255).all():
        return None
    counts = label_counts(torch.from_numpy(mask), torch.from_numpy(truth), num_classes)
    return float(nan_mean(rates(counts)['IoU'][0]))


class CAMPainter:
    """CAM, pseudo-label and prediction of images by a network with CAMs.

    Args:
        run: of a network that ``has_cams`` and ``has_weights``.
        refine: of the pseudo-label, as for ``tools/make_pseudo_labels.py``.
        threshold: of the background; None: that of the run, else the network's.
    """

    def __init__(self, run: RunFolder, *, refine: str = 'none', threshold: float | None = None) -> None:
        model = run.network
        refiner = refiner_of(run.cfg, refine)
        self.scorer = Scorer(
            model,
            source='cam',
            mask_by_labels=True,
            refiner=None if refiner is None else MODELS.build(refiner),
            affinity=affinity_of(run.cfg, refine, model),
        )
        self.threshold = next(x for x in (threshold, run.threshold, model.background_threshold) if x is not None)
        self.images = DATASETS.build(run.cfg.test_dataloader.dataset)

    def paint(self, picture: Picture, index: int) -> SegDataSample:
        """Add the maps; without image-level labels all classes compete."""
        item = self.images[index]
        self.scorer.mask_by_labels = 'gt_score' in item['data_samples']
        maps = self.scorer.maps(item)
        ids, scores = self.scorer.compete(maps, self.threshold)
        picture.label = ids[scores.argmax(axis=0)]
        cam = maps.scores
        if maps.tags is not None:
            cam = cam * maps.tags[:, None, None].to(cam)
            picture.tags = [self.images.metainfo['classes'][k + 1] for k in maps.tags.nonzero().flatten().tolist()]
        picture.cam = cam.cpu().numpy()
        return maps.sample


class Painter:
    """The prediction of images by any network."""

    def __init__(self, run: RunFolder) -> None:
        self.network, self.images = run.network, DATASETS.build(run.cfg.test_dataloader.dataset)

    @torch.no_grad()
    def paint(self, picture: Picture, index: int) -> SegDataSample:
        """Nothing to add: the sample has it."""
        return self.network.test_step(pseudo_collate([self.images[index]]))[0]


def painters_of(
    runs: Iterable[RunFolder], *, refine: str = 'none', threshold: float | None = None
) -> list[CAMPainter | Painter]:
    """Painters of the runs that have weights, in order."""
    able = [run for run in runs if run.has_weights]
    return [CAMPainter(run, refine=refine, threshold=threshold) if run.has_cams else Painter(run) for run in able]


def pictures(painters: Sequence[CAMPainter | Painter], count: int, *, photos: bool = True) -> Iterator[Picture]:
    """Images of the test set, spread evenly; the last network predicts. None without a network.

    Args:
        painters: of :func:`painters_of`.
        count: at most so many.
        photos: whether the photographs are in the pictures.
    """
    if not painters:
        return
    images = painters[-1].images
    for index in progress_bar(evenly(len(images), count), text='images'):
        picture = Picture()
        for painter in painters:
            sample = painter.paint(picture, index)
        picture.name, picture.path = Path(sample.img_path).name, str(Path(sample.img_path).resolve())
        if photos:
            picture.photo = np.ascontiguousarray(read_image(sample.img_path)[..., ::-1])  # BGR to RGB
        picture.prediction = sample.pred_sem_seg.data[0].cpu().numpy()
        if 'gt_sem_seg' in sample:
            picture.truth = sample.gt_sem_seg.data[0].cpu().numpy()
            picture.iou = image_iou(picture.prediction, picture.truth, len(images.metainfo['classes']))
        yield picture


def worst_first(found: Iterable[Picture]) -> list[Picture]:
    """By IoU; those without ground truth come last, by name."""
    return sorted(found, key=lambda one: (one.iou is None, one.iou or 0, one.name))
