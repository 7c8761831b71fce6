"""From one image to the scores of its classes, with any network that returns CAMs or a segmentation."""

from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.model import BaseTTAModel
from mmengine.runner import load_checkpoint
from mmengine.runner.amp import autocast
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..checkpoints import checked
from ..engine import load_own_weights, whole_checkpoint
from ..models import CAMSegmentor
from ..models.refiners import unit_image
from ..models.tta import MaxScaleTTA
from ..structures import class_probabilities


class Maps(NamedTuple):
    """The prediction of a network for one image at its original size.

    ``scores``: CAMs (C, H, W) in [0, 1), or probabilities (C + 1, H, W) with background first; of all classes, not yet
    masked by image-level labels.
    ``tags``: image-level label (C,), or None. ``sample``: the network's sample.
    """

    scores: Tensor
    tags: Tensor | None
    sample: SegDataSample


def choose_source(model: dict, wanted: str | None = None) -> str:
    """``'cam'`` for a segmentor with CAMs, else ``'seg'``; ``wanted`` is checked and kept.

    Args:
        model: Config of the segmentor, not wrapped for test-time augmentation.
        wanted: ``'cam'``, ``'seg'`` or None.

    Raises:
        ValueError: CAMs are wanted from a segmentor without any.
    """
    has_cams = issubclass(MODELS.get(model['type']) or object, CAMSegmentor)  # unknown: said when it is built
    if wanted == 'cam' and not has_cams:
        raise ValueError(f'{model["type"]} has no CAMs, so its labels come from the segmentation (--source seg)')
    return wanted or ('cam' if has_cams else 'seg')


def load_model(model: nn.Module, cfg: Config, checkpoint: str | None, *, source: str) -> nn.Module:
    """Give a network all weights of a checkpoint, for inference on the available device.

    Args:
        model: The network; it may be wrapped by ``MaxScaleTTA`` or a class derived from it.
        cfg: Its config, for messages.
        checkpoint: File; None for a network that needs none.
        source: ``'cam'`` or ``'seg'``.

    Returns:
        It; ``dataset_meta`` has the classes and palette of its training where the checkpoint has them, else None.

    Raises:
        ValueError: the checkpoint does not fit or is missing, or the wrapper drops the merged scores.
    """
    segmentor = model
    if isinstance(model, BaseTTAModel):
        if not isinstance(model, MaxScaleTTA):
            raise ValueError(
                f'tta_model {type(model).__name__} drops the merged scores; use MeanSoftmaxTTA or MaxScaleTTA'
            )
        segmentor = model.module
    loaded = {}
    if checkpoint is None:
        load_own_weights(segmentor)
    else:
        with whole_checkpoint(checkpoint, cfg.filename):
            loaded = load_checkpoint(segmentor, checked(checkpoint), map_location='cpu', strict=True, logger='silent')
    model.dataset_meta = loaded.get('meta', {}).get('dataset_meta')
    if segmentor.test_cfg is None:
        segmentor.test_cfg = {'mode': 'whole'}
    segmentor.test_cfg['cam'] = source == 'cam'
    return model.to(get_device()).eval()


class Scorer:
    """Runs the network on one image after the other.

    Args:
        model: Of :func:`load_model`.
        source: ``'cam'`` (foreground maps that a constant background competes with) or ``'seg'`` (softmax).
        mask_by_labels: Whether classes that are absent from the image-level label are left out.
        amp: bfloat16 autocast.
        refiner: Refiner of the labels that runs on the network's device; None for none.
        affinity: Refiner of the network's own maps, before a background threshold competes; None for none.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        source: str,
        mask_by_labels: bool,
        amp: bool = False,
        refiner: nn.Module | None = None,
        affinity: nn.Module | None = None,
    ) -> None:
        self.model, self.source, self.mask_by_labels, self.amp = model, source, mask_by_labels, amp
        self.device = next(model.parameters()).device
        self.refiner = None if refiner is None else refiner.to(self.device)
        self.affinity = None if affinity is None else affinity.to(self.device).eval()

    @torch.no_grad()
    def maps(self, item: dict[str, Any]) -> Maps:
        """Run the network on an image as the pipeline returns it.

        Raises:
            ValueError: masking without an image-level label or with one of another class count; scores that are not
                finite.
            FileNotFoundError, ValueError: the affinity cannot read the image.
        """
        samples = item['data_samples']
        samples = samples if isinstance(samples, (list, tuple)) else [samples]
        tags, *_ = [sample.get('gt_score') for sample in samples]
        if self.source == 'seg' or not self.mask_by_labels:  # then the network must not see them
            for sample in samples:
                sample.pop('gt_score', None)
        with autocast(dtype=torch.bfloat16, enabled=self.amp):
            sample = self.model.test_step(pseudo_collate([item]))[0]
        if self.source == 'cam':
            scores = sample.get(sample.cam_names[0]).data.float()
        elif 'seg_logits' in sample:
            scores = class_probabilities(sample)
        else:
            raise ValueError('the network gives no seg_logits: its labels come from its CAMs (--source cam)')
        if not scores.isfinite().all():
            raise ValueError(f'{sample.img_path}: the network gives scores that are not finite')
        if self.mask_by_labels:
            self._check_tags(tags, len(scores) - (self.source == 'seg'), sample.img_path)
        if self.affinity is not None:
            present = tags.nonzero().flatten() if self.mask_by_labels else torch.arange(len(scores))
            if len(present):
                present = present.to(scores.device)
                with autocast(dtype=torch.bfloat16, enabled=self.amp):
                    refined = self.affinity(self._image(sample, scores), scores[present][None])[0]
                scores = scores.index_copy(0, present, refined)
        return Maps(scores, tags, sample)

    @torch.no_grad()
    def __call__(self, item: dict[str, Any], threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the classes that compete for the pixels of an image: :meth:`maps`, then :meth:`compete`."""
        return self.compete(self.maps(item), threshold)

    @torch.no_grad()
    def compete(self, maps: Maps, threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the classes that compete for the pixels of an image.

        Args:
            maps: The prediction for the image.
            threshold: Background threshold of the CAMs; None for a segmentation, which has its own.

        Returns:
            Segmentation ids (P,) uint8, background first, and their scores (P, H, W) float32.

        Raises:
            FileNotFoundError, ValueError: the refiner cannot read the image.
        """
        scores, tags, sample = maps
        if threshold is not None:
            scores = torch.cat((torch.full_like(scores[:1], threshold), scores))
        ids = torch.arange(len(scores))
        if self.mask_by_labels:
            ids = torch.cat((ids[:1], tags.nonzero().flatten().cpu() + 1))
        scores = scores[ids.to(scores.device)]
        if self.refiner is not None:
            scores = self.refiner(self._image(sample, scores), scores[None])[0]
        return ids.numpy().astype(np.uint8), scores.cpu().numpy()

    def _image(self, sample: SegDataSample, scores: Tensor) -> Tensor:
        """The image (1, 3, H, W) in [0, 1] at the size of its scores."""
        return unit_image(sample.img_path, scores.shape[-2:]).to(self.device)

    @staticmethod
    def _check_tags(tags: Tensor | None, classes: int, path: str) -> None:
        """Masking needs a label of the right length."""
        if tags is None:
            raise ValueError(
                f'{path} has no image-level label to mask its classes with: use ImageTagDataset, add LoadImageLabels '
                'to the pipeline, or pass --all-classes'
            )
        if len(tags) != classes:
            raise ValueError(f'{path}: the image-level label is over {len(tags)} classes, the network over {classes}')
