"""DuPL: two students that teach each other (Wu et al., CVPR 2024, https://arxiv.org/abs/2403.11184)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...constants import IGNORE
from ...structures import image_scores
from ..cam import PresentClasses, falling_threshold, scale_bilinear
from .base import StartedLosses, Starts
from .two_branches import TwoBranches, numbered

STARTS = ('loss_ptc', 'loss_discrepancy', 'loss_seg', 'loss_consistency', 'noise_filter', 'threshold', 'final_cam')


@MODELS.register_module()
class DuPL(StartedLosses, TwoBranches):
    """Two single-stage networks, ``branch1`` and ``branch2``, each trained on the pseudo-labels of the other.

    The training inputs are ``dict(img=..., strong_view=...)``: the strong view shows the same pixels as ``img``, and is
    flipped here.

    Args:
        cam_thresholds: (beta_l, beta_h). The upper one falls to ``end_thresholds`` from the start of ``threshold`` on;
            an image has the largest one of its present classes.
        end_thresholds: last upper threshold, one for all classes or one per class.
        threshold_iters: how many iterations it falls.
        loss_ptc: patch token contrast of each branch; needs ``aux_cam_head``.
        loss_discrepancy: keeps the final features of the branches apart.
        loss_consistency: on pixels without a label, needs ``refiner`` and the view ``strong_view``.
        noise_filter: turns labels that are probably wrong into 255, needs ``refiner``.
        strong_scale: size of the strong view relative to ``img``.
        starts: first iteration, counted from 0, of the losses, of ``noise_filter``, of the fall of the ``threshold``
            and of ``final_cam``: before it the pseudo-labels come from the auxiliary CAM. The default of each is 0.
        as_published: ask for consistency in the padding of a crop too, which has no label either.
        **kwargs: of ``TwoBranches``: ``backbone``, ``decode_head``, ``cam_head``, ``refiner``, ``test_cfg`` ...

    Raises:
        ValueError: a part that a configured loss needs is missing, ``starts`` has an unknown name or an impossible
            order, or ``end_thresholds`` are not above beta_l, at most 1, and one per class.
    """

    def __init__(
        self,
        *,
        cam_thresholds: tuple[float, float] = (0.25, 0.7),
        end_thresholds: float | Sequence[float] = 0.55,
        threshold_iters: int = 18000,
        loss_ptc: dict | None = None,
        loss_discrepancy: dict | None = None,
        loss_consistency: dict | None = None,
        noise_filter: dict | None = None,
        strong_scale: float = 0.75,
        starts: Starts | None = None,
        as_published: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(cam_thresholds=cam_thresholds, **kwargs)
        self.low, self.high = self.branch1.low, self.branch1.high
        ends, classes = torch.as_tensor(end_thresholds, dtype=torch.float32), self.num_classes - 1
        if ends.numel() not in (1, classes):
            raise ValueError(f'end_thresholds has {ends.numel()} values for {classes} classes')
        if threshold_iters < 2 or not ((self.low < ends) & (ends <= 1)).all():
            raise ValueError(
                f'end_thresholds must be above {self.low} and at most 1, threshold_iters at least 2, got '
                f'{end_thresholds} and {threshold_iters}'
            )
        self.register_buffer('end_thresholds', ends.expand(classes).clone(), persistent=False)
        self.threshold_iters, self.strong_scale, self.as_published = threshold_iters, strong_scale, as_published
        self._build(
            loss_ptc=loss_ptc,
            loss_discrepancy=loss_discrepancy,
            loss_consistency=loss_consistency,
            noise_filter=noise_filter,
        )
        self.set_starts(starts, STARTS)
        first = self.starts
        if 'loss_seg' in self.trains and not self.branch1.aux_cam_head and first['final_cam'] > first['loss_seg']:
            raise ValueError(f'starts={starts} needs labels from the auxiliary CAM: set aux_cam_head or final_cam=0')
        if self.loss_consistency and first['loss_consistency'] < first['loss_seg']:
            raise ValueError(f'loss_consistency needs the labels of loss_seg: it cannot begin before it, got {starts}')

    def _build(self, **parts: dict | None) -> None:
        """The losses between the branches and the filter; what they need of a branch is checked."""
        branch = self.branch1
        if parts['loss_ptc'] and not branch.aux_cam_head:
            raise ValueError('loss_ptc needs aux_cam_head: its token labels come from the auxiliary CAM')
        if (parts['loss_consistency'] or parts['noise_filter']) and not branch.refiner:
            raise ValueError('loss_consistency and noise_filter need refiner: they are about its labels')
        for name, part in parts.items():
            setattr(self, name, MODELS.build(part) if part else None)
        self.trains = {name: () for name, part in parts.items() if part and name.startswith('loss')}
        if branch.refiner:
            branch.require_logits('refiner')
            waiting = branch.trains['loss_seg']
            self.trains['loss_seg'] = tuple(f'{name}.{part}' for name in ('branch1', 'branch2') for part in waiting)
        self.views = ('strong_view',) if self.loss_consistency else ()

    def loss(self, inputs: dict[str, Tensor] | Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """All terms of the training objective; those of one branch end in ``_1`` or ``_2``.

        Args:
            inputs: ``img`` (B, 3, H, W), and ``strong_view`` of the same shape where ``loss_consistency`` is on.
            data_samples: with image-level labels and ``valid_box``.
        """
        views = self.named_views(inputs)
        images, label = views['img'], image_scores(data_samples)
        maps = [branch.backbone(images) for branch in self.branches]
        pairs = list(zip(self.branches, maps, strict=True))
        losses = numbered(branch.classification_losses(own, label) for branch, own in pairs)
        begun = self.begun()
        if 'loss_discrepancy' in begun:
            losses['loss_discrepancy'] = self.loss_discrepancy(maps[0][-1], maps[1][-1])
        if begun & {'loss_ptc', 'loss_seg'}:
            present = self.branch1.present_classes(label, data_samples)
            cams = [branch.training_cams(images, own, present) for branch, own in pairs]
            valid, high = self.branch1.valid_mask(images, data_samples), self.upper_thresholds(present)
        if 'loss_ptc' in begun:
            grid = maps[0][-1].shape[-2:]
            relations = [self.branch1.token_relation(grid, cam['cam_aux'], valid, high=high) for cam in cams]
            contrasts = (self.loss_ptc(own[-1], *pair) for own, pair in zip(maps, relations, strict=True))
            losses |= numbered(dict(loss_ptc=contrast) for contrast in contrasts)
        if 'loss_seg' in begun:
            source = 'cam' if self.has_begun('final_cam') else 'cam_aux'
            unit = self.data_preprocessor.to_unit(images)
            labels = [self.branch1.pseudo_label(unit, cam[source], present, valid, high=high) for cam in cams]
            losses |= self._cross_supervision(views, maps, labels, data_samples, unit=unit, valid=valid)
        losses |= self.not_begun()
        self.iteration += 1
        return losses

    def upper_thresholds(self, present: PresentClasses) -> Tensor:
        """Upper threshold of each image (B,), the largest of its present classes; without any the lower one."""
        step = self.iteration - self.starts['threshold']
        of_class = falling_threshold(step, start=self.high, end=self.end_thresholds, length=self.threshold_iters)
        return of_class[present.index].masked_fill(present.score == 0, self.low).amax(dim=1)

    def _cross_supervision(
        self,
        views: Mapping[str, Tensor],
        maps: Sequence[Sequence[Tensor]],
        labels: Sequence[Tensor],
        data_samples: Sequence[SegDataSample],
        *,
        unit: Tensor,
        valid: Tensor,
    ) -> dict[str, Tensor]:
        """The labels of each branch, without noise, teach the other one; what they leave out learns by consistency."""
        size = valid.shape[-2:]
        logits = [branch.logits(own, size) for branch, own in zip(self.branches, maps, strict=True)]
        if self.noise_filter and self.has_begun('noise_filter'):
            labels = [self._without_noise(own, label) for own, label in zip(logits, labels, strict=True)]
        teachers = labels[::-1]
        losses = numbered(
            branch.segmentation_losses(own, label, data_samples, unit=unit, valid=valid, logits=seg)
            for branch, own, label, seg in zip(self.branches, maps, teachers, logits, strict=True)
        )
        if self.loss_consistency and self.has_begun('loss_consistency'):
            strong = scale_bilinear(views['strong_view'].flip(-1), self.strong_scale)
            for index, (branch, weak, label) in enumerate(zip(self.branches, logits, teachers, strict=True), 1):
                unlabelled = label == IGNORE if self.as_published else (label == IGNORE) & valid
                answer = branch.logits(branch.backbone(strong), size).flip(-1)
                losses[f'loss_consistency_{index}'] = self.loss_consistency(weak, answer, unlabelled)
        return losses

    def _without_noise(self, logits: Tensor, label: Tensor) -> Tensor:
        """A branch's own labels (B, H, W); 255 where its own prediction makes them look wrong."""
        loss = F.cross_entropy(logits.detach().float(), label, ignore_index=IGNORE, reduction='none')
        return torch.where(self.noise_filter(loss, (label > 0) & (label != IGNORE)), IGNORE, label)
