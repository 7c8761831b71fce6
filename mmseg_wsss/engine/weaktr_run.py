"""The whole of WeakTr as steps: CAMs, pseudo-labels, segmentation, and what they measure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from ..models import GradientClippedCrossEntropy
from .steps import Step
from .tool_steps import ToolSteps, metrics_of


@dataclass(kw_only=True, frozen=True)
class WeakTrRun:
    """What a run is made of (WeakTr, arXiv 2304.01184, Figure 2).

    Folders below ``work_dir``: ``cam`` (first stage), ``labels`` (pseudo-labels), ``seg`` (second stage), ``fully``
    (the same network on true masks).

    Args:
        cam_config: config of the first stage, a segmentor with CAMs.
        seg_config: config of the second stage, trained on a ``PseudoMaskDataset``.
        work_dir: folder of everything.
        seed: of all trainings.
        fully_config: config of the fully supervised twin of the second stage; None for none.
        split: list of the images to label; None for the training list of the second stage.
        threshold: background score beside the CAMs; None to choose it on images with masks.
        sweep_split: list of these images; None for all that are labelled.
        refine: refinement of the labels, as ``tools/make_pseudo_labels.py`` names it.
        workers: processes that refine and write labels.
    """

    cam_config: Path
    seg_config: Path
    work_dir: Path
    seed: int = 0
    fully_config: Path | None = None
    split: str | None = None
    threshold: float | None = None
    sweep_split: str | None = None
    refine: str = 'crf-labels'
    workers: int = 0

    def __post_init__(self) -> None:
        """Find what would fail only after hours.

        Raises:
            ValueError: the configs do not belong together, or a list of images is missing.
            ImportError: there is no CRF.
        """
        MODELS.build({'type': 'DenseCRF'})
        cam, seg = Config.fromfile(self.cam_config), Config.fromfile(self.seg_config)
        images, train = cam.test_dataloader.dataset, seg.train_dataloader.dataset
        if train.get('type') != 'PseudoMaskDataset':
            raise ValueError(
                f'{self.seg_config}: train_dataloader.dataset is a {train.get("type")}, but the second stage is '
                'trained on a PseudoMaskDataset'
            )
        if seg.get('tta_model') is None or seg.get('tta_pipeline') is None:
            raise ValueError(f'{self.seg_config} has no tta_model and tta_pipeline, so test.py --tta is impossible')
        others = {self.seg_config: train}
        if self.fully_config:
            others[self.fully_config] = Config.fromfile(self.fully_config).train_dataloader.dataset
        for path, dataset in others.items():
            if list(dataset.classes) != list(images.classes):
                raise ValueError(
                    f'{self.cam_config} has the classes {list(images.classes)}, {path} {list(dataset.classes)}'
                )
        if _folder(cam, 'train') != _folder(cam, 'test'):
            images = cam.train_dataloader.dataset
            if self.threshold is None and self.sweep_split is None:
                raise ValueError(
                    f'{self.cam_config}: training and test images lie in different folders, so the threshold cannot be '
                    'chosen on training images: give --threshold, or --sweep-split for a list of test images'
                )
        elif self.threshold is None and (images.get('data_prefix') or {}).get('seg_map_path') is None:
            raise ValueError(
                f'{self.cam_config}: test_dataloader.dataset has no data_prefix.seg_map_path, so there are no masks to '
                'choose the threshold on: set it, or give --threshold'
            )
        for name in filter(None, (self._split(), self.sweep_split)):
            if not ((Path(images.get('data_root') or '') / name).is_file() or Path(name).is_file()):
                raise ValueError(f'the list of images {name} is neither below {images.get("data_root")} nor here')
        for path in filter(None, (self.cam_config, self.seg_config, self.fully_config)):
            _check_model(path)

    def _images(self) -> tuple[str, ...]:
        """Where the label tool finds the images: a list of the test set's folder, or the training set's own."""
        if _folder(Config.fromfile(self.cam_config), 'train') != _folder(Config.fromfile(self.cam_config), 'test'):
            return ('--images', 'train', *(() if self.split is None else ('--split', self.split)))
        return ('--split', self._split())

    def _split(self) -> str:
        """List of the images to label."""
        if self.split is not None:
            return self.split
        return Config.fromfile(self.seg_config).train_dataloader.dataset.get('ann_file', '')

    @property
    def labels(self) -> Path:
        """The folder of the pseudo-labels."""
        return self.work_dir / 'labels'

    def plan(self, tools: ToolSteps) -> dict[str, Step]:
        """Add all steps to ``tools``; returns those that measure something, by the names of :meth:`table`."""
        train_cam = tools.train('the first stage', self.cam_config, self.work_dir / 'cam', seed=self.seed)
        tests = {'cam': tools.test('its CAMs', self.cam_config, train_cam)}
        tests['labels'] = self._label(tools, train_cam)
        self._compare(tools, tests)
        masks = f'train_dataloader.dataset.mask_dir={self.labels / "SegmentationClass"}'
        train_seg = tools.train(
            'the second stage on the pseudo-labels',
            self.seg_config,
            self.work_dir / 'seg',
            seed=self.seed,
            options=('--cfg-options', masks),
            needs=(tests['labels'],),
        )
        self._test(tools, tests, 'seg', 'the second stage', self.seg_config, train_seg)
        if self.fully_config:
            about = 'the twin on true masks'
            train_twin = tools.train(about, self.fully_config, self.work_dir / 'fully', seed=self.seed)
            self._test(tools, tests, 'fully', about, self.fully_config, train_twin)
        return tests

    def _label(self, tools: ToolSteps, training: Step) -> Step:
        """Add the labelling, which goes on with its own work and refuses that of other settings."""
        background = ['--sweep'] if self.threshold is None else ['--threshold', self.threshold]
        if self.sweep_split is not None:
            background += ['--sweep-split', self.sweep_split]
        return tools.add(
            'make_pseudo_labels.py',
            *(self.cam_config, training.results[0], '--out', self.labels, *self._images(), *background),
            *('--refine', self.refine),
            extra=('--workers', str(self.workers)),
            title='label the training images',
            folder=self.labels,
            name='labels',
            configs=(self.cam_config,),
            needs=(training,),
            results=(self.labels / 'manifest.json', self.labels / 'report.json'),
            fresh=True,
        )

    def _compare(self, tools: ToolSteps, tests: dict[str, Step]) -> None:
        """Add the comparison of the pseudo-labels with true masks, where the second stage's config names them."""
        dataset = Config.fromfile(self.seg_config).train_dataloader.dataset
        truth = dataset.get('data_prefix', {}).get('truth_path')
        if truth is None:
            return
        root = Path(dataset.get('data_root') or '')
        split = ['--split', next(path for path in (root / self._split(), Path(self._split())) if path.is_file())]
        tests['iou'] = tools.add(
            'analysis_tools/mask_iou.py',
            *(self.labels, root / truth, *(split if self._split() else ())),
            title='compare the labels with true masks',
            folder=self.labels,
            name='iou',
            needs=(tests['labels'],),
            results=(self.labels / 'iou.json',),
        )

    @staticmethod
    def _test(tools: ToolSteps, tests: dict, name: str, about: str, config: Path, training: Step) -> None:
        """Add the three tests of a segmentation network."""
        tests[name] = tools.test(about, config, training)
        tests[f'{name}_tta'] = tools.test(about, config, training, tta=True)
        tests[f'{name}_tta_crf'] = tools.test(about, config, training, tta=True, crf=True)


def _folder(config: Config, loader: str) -> tuple[str | None, str | None]:
    """Data root and image folder of a data loader."""
    dataset = config[f'{loader}_dataloader'].dataset
    return dataset.get('data_root'), (dataset.get('data_prefix') or {}).get('img_path')


def _check_model(path: Path) -> None:
    """Build the network, without weights: what cannot be built or trained shall not be found out after hours.

    Raises:
        ValueError: the config's model cannot be built.
    """
    config = Config.fromfile(path)
    init_default_scope(config.get('default_scope', 'mmseg'))
    try:
        model = MODELS.build(config.model)
        for part in model.modules():
            if isinstance(part, GradientClippedCrossEntropy) and config.model.data_preprocessor.get('size'):
                part.check_crop(tuple(config.model.data_preprocessor.size))
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: the model cannot be built: {error}') from error


def table(tests: dict[str, Step]) -> str:
    """What complete tests measured, as markdown: mIoU in percent, and the share of the fully supervised twin's."""
    cam = metrics_of(tests['cam'])
    rows = [
        ('CAM', f'{cam["cam/mIoU"]:.1f}', ''),
        ('CAM, best threshold', f'{cam["cam/best_mIoU"]:.1f} (at {cam["cam/best_threshold"]:.2f})', ''),
    ]
    found = json.loads((tests['labels'].folder / 'manifest.json').read_text(encoding='utf-8'))['found']
    if 'mIoU' in found:
        note = f'{found["mIoU"]:.1f} (at {found["threshold"]:.2f}, {found["images"]} images)'
        rows.insert(0, ('CAM on the images of the threshold sweep', note, ''))
    if 'iou' in tests:
        label = json.loads(tests['iou'].results[0].read_text(encoding='utf-8'))
        rows.append(('pseudo-labels, training images', f'{label["mIoU"]:.1f}', ''))
    for suffix, how in (('', 'single scale'), ('_tta', 'multi-scale'), ('_tta_crf', 'multi-scale + CRF')):
        value = metrics_of(tests[f'seg{suffix}'])['seg/mIoU']
        twin = tests.get(f'fully{suffix}')
        if twin is None:
            rows.append((f'segmentation, {how}', f'{value:.1f}', ''))
            continue
        bound = metrics_of(twin)['seg/mIoU']
        rows.append((f'segmentation, {how}', f'{value:.1f}', f'{bound:.1f} ({100 * value / bound:.1f} %)'))
    lines = ["| mIoU in % | WeakTr | fully supervised (WeakTr's share) |", '|---|--:|--:|']
    return '\n'.join([*lines, *(f'| {" | ".join(row)} |' for row in rows)])
