"""SeCo: separate and conquer (Yang et al., CVPR 2024, https://arxiv.org/abs/2402.18467)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...constants import BACKGROUND, IGNORE
from ...structures import image_scores
from ..backbones import Tokens
from ..cam import MIXED, cam_to_label, cut_crops, patch_tags, sample_corners
from ..steady_average import SteadyAverage
from .base import Starts
from .parts import completed, require_tokens, token_width
from .single_stage import SingleStage

CONTRASTS = ('loss_lil', 'loss_lig')
STARTS = ('loss_ptc', *CONTRASTS, 'loss_seg', 'loss_reg', 'prototypes', 'memory', 'final_cam', 'final_regions')


class TagMemory(nn.Module):
    """What SeCo remembers of earlier batches of all processes: tagged keys, and a prototype of every class.

    Buffers: ``queue`` (L, P) of unit vectors with ``queue_tag`` (L, 1), overwritten in turn from row ``queue_ptr`` on,
    and ``prototypes`` (C, P), random unit vectors at first.

    Args:
        num_classes, channels, length: C, P and L.
        momentum: of the prototypes.
        as_published: the queue starts with random rows, its columns of length 1, tagged as background; otherwise it is
            empty at first (tag -1).
    """

    def __init__(
        self, *, num_classes: int, channels: int, length: int, momentum: float, as_published: bool = False
    ) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f'memory.momentum must be in [0, 1), got {momentum}')
        self.momentum = momentum
        rows = F.normalize(torch.randn(length, channels), dim=0) if as_published else torch.zeros(length, channels)
        self.register_buffer('queue', rows)
        self.register_buffer('queue_tag', torch.full((length, 1), BACKGROUND if as_published else MIXED))
        self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))
        self.register_buffer('prototypes', F.normalize(torch.randn(num_classes, channels), dim=1))

    @torch.no_grad()
    def append(self, keys: Tensor, tags: Tensor) -> None:
        """Put the keys (B, V, P) and tags (B, V) of all processes over the oldest rows.

        Raises:
            ValueError: they are more than the queue holds.
        """
        keys, tags = (_of_all_processes(part).flatten(0, 1) for part in (keys, tags))
        if len(keys) > len(self.queue):
            raise ValueError(
                f'a step makes {len(keys)} keys, more than the {len(self.queue)} that model.memory.length holds'
            )
        rows = (self.queue_ptr + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[rows] = keys.to(self.queue)
        self.queue_tag[rows, 0] = tags
        self.queue_ptr.copy_((self.queue_ptr + len(keys)) % len(self.queue))

    @torch.no_grad()
    def follow(self, tokens: Tensor, label: Tensor) -> None:
        """Move prototypes towards class tokens (B, P) of images with one class by their labels (B, C); make them unit.

        One image after the other, over all processes: ``p_c <- rho p_c + (1 - rho) t``.
        """
        alone = label * (label.sum(dim=1, keepdim=True) == 1)  # (B, C)
        alone, tokens = (_of_all_processes(part.float()) for part in (alone, tokens))
        later = alone.flip(0).cumsum(dim=0).flip(0) - alone  # images of the class that come after
        weight = alone * (1 - self.momentum) * self.momentum**later
        kept = self.momentum ** alone.sum(dim=0)[:, None]
        self.prototypes.copy_(F.normalize(kept * self.prototypes + weight.T @ tokens, dim=1))


def _of_all_processes(part: Tensor) -> Tensor:
    """(B, ...) of every process as one batch, in the order in which samplers deal images out: one to each in turn."""
    return torch.stack(all_gather(part.contiguous()), dim=1).flatten(0, 1)


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
        projector: projection head with its EMA teacher, as wide as the backbone; not built without either contrast.
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
            fit = dict(in_channels=width, bottleneck_channels=width, out_channels=None)
            projector = completed(projector, 'projector', **fit) | dict(out_channels=None)
            self.projector = MODELS.build(projector)
            remembered = dict(length=4608, momentum=0.9) | dict(memory or {})
            self.memory = TagMemory(
                num_classes=self.num_classes - 1,
                channels=projector['bottleneck_channels'],
                as_published=as_published,
                **remembered,
            )
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
        begun, remembers = self.begun(), self.memory is not None
        if remembers:
            self.teacher.update_parameters(self.backbone)
            self.projector.update()
            if self.has_begun('prototypes'):
                self.memory.follow(tokens.cls_token[:, 0], label)
        collects = remembers and (self.has_begun('memory') or not begun.isdisjoint(CONTRASTS))
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
        share, as_published = self.background_share, self.as_published
        tag, patch_tag = patch_tags(region, corners, self.local_crop_size, threshold=share, as_published=as_published)
        tags = torch.cat((tag[:, None].expand(-1, 2), patch_tag), dim=1)  # (B, V), V = 2 + num

        whole = torch.stack((tokens.cls_token[:, 0], _class_token(self.backbone, views['global_view'])), dim=1)
        queries = torch.cat((whole, self._patch_tokens(self.backbone, views['img'], corners)), dim=1)  # (B, V, D)
        keys = self._keys(views, corners, whole.detach())  # (B, V, P)
        self.memory.append(keys, tags)
        if begun.isdisjoint(CONTRASTS):
            return {}
        features, keys, tags = (part.flatten(0, 1) for part in (self.projector(queries), keys, tags))
        losses = {}
        if 'loss_lil' in begun:
            known, known_tags = self.memory.queue, self.memory.queue_tag[:, 0]
            if as_published:
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
