"""SeCo: separate and conquer (Yang et al., CVPR 2024, https://arxiv.org/abs/2402.18467)."""

from collections.abc import Mapping, Sequence

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...constants import BACKGROUND, IGNORE
from ...structures import image_scores
from ..backbones import Tokens
from ..cam import cam_to_label, cut_crops, patch_tags, sample_corners
from ..steady_average import SteadyAverage
from ..tag_memory import TagMemory
from .base import Starts
from .parts import completed, require_tokens, token_width
from .single_stage import SingleStage

CONTRASTS = ('loss_lil', 'loss_lig')
STARTS = ('loss_ptc', *CONTRASTS, 'loss_seg', 'loss_reg', 'prototypes', 'memory', 'final_cam', 'final_regions')


@MODELS.register_module()
class SeCo(SingleStage):
    """Single-stage segmentation that contrasts the class tokens of tagged patches with what the network remembers.

    The training inputs are ``dict(img=..., global_view=..., local_view=...)`` as for ToCo, ``img`` without photometry.
    Around pixels where the CAM is uncertain, patches are cut out of ``img`` (queries) and ``local_view`` (keys of the
    EMA teacher); their class tags decide which are positive pairs. Every part that is ``None`` is left out of the loss.

    Args:
        backbone: a backbone with ``tokens`` (``TokenViT``) whose ``out_indices`` hold the auxiliary and the last block.
        loss_ptc: patch token contrast as in ToCo.
        loss_lil: contrast of tokens with the queue; it also finds noise among the tags.
        loss_lig: contrast of tokens with the prototypes.
        projector: projection head and its EMA teacher, as wide as the backbone, without last layer; not built without
            a contrast.
        memory: ``length`` of the queue (published: 4608) and ``momentum`` of the prototypes (0.9, COCO 0.99).
        teacher_momentum: rho of the EMA teacher of the backbone; published 0.999.
        num_local_crops, local_crop_size: patches per image and their side in pixels.
        background_share: a patch is background if at most this share of it is uncertain or of a class.
        starts: first iteration, counted from 0, of each loss, of ``memory`` (from where keys are collected) and
            ``prototypes``, of ``final_cam``: before it pseudo-labels come from the auxiliary CAM, and of
            ``final_regions``: before it tags do. The default of each is 0.
        as_published: tags, initial queue and keys of the published code: see :func:`patch_tags` and :class:`TagMemory`;
            keys of whole views come from the trained encoder, and keys of this process stand twice among those of LIL.
        **kwargs: of ``SingleStage``: ``decode_head``, ``cam_head``, ``refiner``, ``loss_reg`` ...

    Raises:
        TypeError: the backbone has no ``tokens``.
        ValueError: a part that a configured loss needs is missing, or ``starts`` has an unknown name or an impossible
            order.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        aux_cam_head: dict,
        loss_ptc: dict | None = None,
        loss_lil: dict | None = None,
        loss_lig: dict | None = None,
        projector: dict | None = None,
        memory: Mapping[str, float] | None = None,
        teacher_momentum: float = 0.999,
        num_local_crops: int = 10,
        local_crop_size: int = 64,
        background_share: float = 0.2,
        starts: Starts | None = None,
        as_published: bool = False,
        **kwargs,
    ) -> None:
        require_tokens('SeCo', backbone)
        super().__init__(backbone=backbone, aux_cam_head=aux_cam_head, **kwargs)
        self.loss_ptc, self.loss_lil, self.loss_lig = (
            MODELS.build(loss) if loss else None for loss in (loss_ptc, loss_lil, loss_lig)
        )
        if self.loss_ptc:
            self.trains['loss_ptc'] = ()
        contrasts = [name for name in CONTRASTS if getattr(self, name)]
        if contrasts and not projector:
            raise ValueError(f'{" and ".join(contrasts)} needs projector: class tokens are compared behind it')
        self.projector = self.memory = self.teacher = None
        if contrasts:
            self.trains |= dict.fromkeys(contrasts, ('projector',))
            self.views = ('global_view', 'local_view')
            width = token_width(self.backbone)
            # prototypes are made of the encoder's tokens and compared with projections: equally wide
            projector = completed(projector, 'projector', in_channels=width, bottleneck_channels=width)
            self.projector = MODELS.build(projector | dict(out_channels=None))
            channels = projector['bottleneck_channels']
            fixed = dict(num_classes=self.num_classes - 1, channels=channels, as_published=as_published)
            self.memory = TagMemory(**fixed, **(memory or {}))
            self.teacher = SteadyAverage(self.backbone, momentum=teacher_momentum)
        self.num_local_crops = num_local_crops
        self.local_crop_size = local_crop_size
        self.background_share = background_share
        self.as_published = as_published
        self.set_starts(starts, STARTS)

    def loss(self, inputs: Mapping[str, Tensor] | Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """All terms of the training objective.

        Args:
            inputs: ``img`` (B, 3, H, W); ``global_view`` and ``local_view`` of the same shape where a contrast is on. A
                plain tensor stands for ``img``.
            data_samples: with image-level labels and ``valid_box``.
        """
        views = self.named_views(inputs)
        images, label = views['img'], image_scores(data_samples)
        tokens = self.backbone.tokens(images)
        losses = self.classification_losses(tokens.maps, label)
        begun, collects = self.begun(), False
        if self.memory is not None:
            collects = self.has_begun('memory') or not begun.isdisjoint(CONTRASTS)
            self.teacher.update_parameters(self.backbone)
            self.projector.update()
            if self.has_begun('prototypes'):
                self.memory.follow(tokens.cls_token[:, 0], label)
        if begun or collects:
            present = self.present_classes(label, data_samples)
            cams = self.training_cams(images, tokens.maps, present)
            valid = self.valid_mask(images, data_samples)
        if 'loss_ptc' in begun:
            relation = self.token_relation(tokens.maps[-1].shape[-2:], cams['cam_aux'], valid)
            losses['loss_ptc'] = self.loss_ptc(tokens.maps[-1], *relation)
        if collects:
            # where a class is certain, where nothing is (0, also in the padding), and where it is uncertain (255)
            certain = cam_to_label(self._chosen(cams, 'final_regions'), low=self.low, high=self.high)
            region = torch.where(valid, present.to_class(certain), BACKGROUND)
            losses |= self._contrasts(views, tokens, region, begun)
        if 'loss_seg' in begun:
            unit = self.data_preprocessor.to_unit(images)
            pseudo = self.pseudo_label(unit, self._chosen(cams, 'final_cam'), present, valid)
            losses |= self.segmentation_losses(tokens.maps, pseudo, data_samples, unit=unit, valid=valid)
        losses |= self.not_begun()
        self.iteration += 1
        return losses

    def _chosen(self, cams: Mapping[str, Tensor], start: str) -> Tensor:
        """The final CAM from this start on, before it the auxiliary one."""
        return cams['cam' if self.has_begun(start) else 'cam_aux']

    def _contrasts(
        self, views: Mapping[str, Tensor], tokens: Tokens, region: Tensor, begun: set[str]
    ) -> dict[str, Tensor]:
        """Collect the keys of this batch; then LIL and LIG of its queries, where they have begun."""
        corners = sample_corners(region == IGNORE, num=self.num_local_crops, size=self.local_crop_size)
        form = dict(threshold=self.background_share, as_published=self.as_published)
        tag, patch_tag = patch_tags(region, corners, self.local_crop_size, **form)
        tags = torch.cat((tag[:, None].expand(-1, 2), patch_tag), dim=1)  # (B, V), V = 2 + num

        whole = torch.stack((tokens.cls_token[:, 0], _class_token(self.backbone, views['global_view'])), dim=1)
        queries = torch.cat((whole, self._patch_tokens(self.backbone, views['img'], corners)), dim=1)  # (B, V, D)
        keys = self._keys(views, corners, whole.detach())  # (B, V, P)
        self.memory.append(keys, tags)
        if begun.isdisjoint(CONTRASTS):
            return {}
        features, keys, tags = (part.flatten(0, 1) for part in (self.projector(queries), keys, tags))
        losses, known, known_tags = {}, self.memory.queue, self.memory.queue_tag[:, 0]
        if 'loss_lil' in begun:
            if self.as_published:
                known, known_tags = torch.cat((keys, known)), torch.cat((tags, known_tags))
            losses['loss_lil'], tags = self.loss_lil(features, tags, known, known_tags)
        if 'loss_lig' in begun:
            losses['loss_lig'] = self.loss_lig(features, tags, self.memory.prototypes)
        return losses

    @torch.no_grad()
    def _keys(self, views: Mapping[str, Tensor], corners: Tensor, whole: Tensor) -> Tensor:
        """What the teachers make of both views and of the patches of ``local_view``: (B, V, P)."""
        teacher = self.teacher.module
        if not self.as_published:
            both = torch.cat((views['img'], views['global_view']))
            whole = torch.stack(_class_token(teacher, both).chunk(2), dim=1)
        tokens = torch.cat((whole, self._patch_tokens(teacher, views['local_view'], corners)), dim=1)
        return self.projector.project_global(tokens).float()

    def _patch_tokens(self, encoder: nn.Module, images: Tensor, corners: Tensor) -> Tensor:
        """Class tokens (B, num, D) of the patches at these corners."""
        crops = cut_crops(images, corners, self.local_crop_size)  # (B, num, 3, size, size)
        return _class_token(encoder, crops.flatten(0, 1)).unflatten(0, crops.shape[:2])


def _class_token(encoder: nn.Module, images: Tensor) -> Tensor:
    """The class token (B, D) of every image."""
    return encoder.tokens(images).cls_token[:, 0]
