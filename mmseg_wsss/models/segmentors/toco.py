"""ToCo: token contrast for weakly-supervised segmentation (Ru et al., CVPR 2023, https://arxiv.org/abs/2303.01267)."""

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...structures import image_scores
from ..backbones import Tokens
from ..cam import FOREGROUND, cam_to_roi, cut_crops, is_positive, sample_corners
from .base import Starts
from .parts import completed, require_tokens, token_width
from .single_stage import SingleStage

STARTS = ('loss_ptc', 'loss_ctc', 'loss_seg', 'loss_reg', 'final_cam')


@MODELS.register_module()
class ToCo(SingleStage):
    """Single-stage segmentation from image-level labels (ToCo Figure 3, Eq. 5).

    The training inputs are ``dict(img=..., global_view=..., local_view=...)`` (see ``MultiView``). Every part that is
    ``None`` is left out of the loss, which gives the rows of Table 4.

    Args:
        backbone: a backbone with ``tokens`` (``TokenViT``) whose ``out_indices`` hold the auxiliary and the last block.
        loss_ptc: patch token contrast; needs ``aux_cam_head``.
        loss_ctc: class token contrast; needs ``aux_cam_head`` and ``projector``.
        projector: projection head with its EMA teacher; not built where ``loss_ctc`` is off.
        num_local_crops, local_crop_size: local views per image and their side in pixels.
        starts: first iteration, counted from 0, of ``loss_ptc``, ``loss_ctc``, ``loss_seg`` and ``loss_reg``, and of
            ``final_cam``: before it the pseudo-labels come from the auxiliary CAM. The default of each is 0. Published:
            2001 for the two segmentation losses on VOC; 8001 for them and 12001 for the rest on COCO.
        **kwargs: of ``SingleStage``: ``decode_head``, ``cam_head``, ``aux_cam_head``, ``refiner``, ``loss_reg`` ...

    Raises:
        TypeError: the backbone has no ``tokens``.
        ValueError: a part that a configured loss needs is missing, or ``starts`` has an unknown name or an impossible
            order.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        aux_cam_head: dict | None = None,
        loss_ptc: dict | None = None,
        loss_ctc: dict | None = None,
        projector: dict | None = None,
        num_local_crops: int = 8,
        local_crop_size: int = 96,
        starts: Starts | None = None,
        **kwargs,
    ) -> None:
        require_tokens('ToCo', backbone)
        super().__init__(backbone=backbone, aux_cam_head=aux_cam_head, **kwargs)
        if loss_ptc and not aux_cam_head:
            raise ValueError('loss_ptc needs aux_cam_head: its token labels come from the auxiliary CAM')
        if loss_ctc and not (aux_cam_head and projector):
            raise ValueError('loss_ctc needs aux_cam_head (where to crop) and projector (what to compare)')
        self.loss_ptc = MODELS.build(loss_ptc) if loss_ptc else None
        self.loss_ctc = MODELS.build(loss_ctc) if loss_ctc else None
        width = token_width(self.backbone)
        self.projector = MODELS.build(completed(projector, 'projector', in_channels=width)) if loss_ctc else None
        if self.loss_ptc:
            self.trains['loss_ptc'] = ()
        if self.loss_ctc:
            self.trains['loss_ctc'] = ('projector',)
            self.views = ('global_view', 'local_view')
        self.num_local_crops = num_local_crops
        self.local_crop_size = local_crop_size
        self.set_starts(starts, STARTS)
        if self.refiner and not aux_cam_head and self.starts['final_cam'] > self.starts['loss_seg']:
            raise ValueError(f'starts={starts} needs labels from the auxiliary CAM: set aux_cam_head or final_cam=0')

    def loss(self, inputs: dict[str, Tensor] | Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """All terms of the training objective.

        Args:
            inputs: ``img`` (B, 3, H, W); ``global_view`` and ``local_view`` of the same shape where ``loss_ctc`` is
                on. A plain tensor stands for ``img``.
            data_samples: with image-level labels and ``valid_box``.
        """
        views = self.named_views(inputs)
        images, label = views['img'], image_scores(data_samples)
        tokens = self.backbone.tokens(images)
        losses = self.classification_losses(tokens.maps, label)
        begun = self.begun()
        if begun:
            present = self.present_classes(label, data_samples)
            cams = self.training_cams(images, tokens.maps, present)
            valid = self.valid_mask(images, data_samples)
        if 'loss_ptc' in begun:
            losses['loss_ptc'] = self._patch_contrast(tokens, cams['cam_aux'], valid)
        if 'loss_ctc' in begun:
            losses['loss_ctc'] = self._class_contrast(views, tokens, cams['cam_aux'])
        elif self.loss_ctc:
            self.projector.update()  # as published, updated from the first step on
        if 'loss_seg' in begun:
            cam = cams['cam' if self.has_begun('final_cam') else 'cam_aux']
            unit = self.data_preprocessor.to_unit(images)
            pseudo = self.pseudo_label(unit, cam, present, valid)
            losses |= self.segmentation_losses(tokens.maps, pseudo, data_samples, unit=unit, valid=valid)
        losses |= self.not_begun()
        self.iteration += 1
        return losses

    def _patch_contrast(self, tokens: Tokens, cam_aux: Tensor, valid: Tensor) -> Tensor:
        """PTC: relations of tokens by the auxiliary CAM supervise the final tokens (Eq. 3)."""
        return self.loss_ptc(tokens.maps[-1], *self.token_relation(tokens.maps[-1].shape[-2:], cam_aux, valid))

    def _class_contrast(self, views: dict[str, Tensor], tokens: Tokens, cam_aux: Tensor) -> Tensor:
        """CTC: class tokens of local crops against those of two global views (Eq. 4)."""
        self.projector.update()
        roi = cam_to_roi(cam_aux, low=self.low, high=self.high)
        size, num = self.local_crop_size, self.num_local_crops
        corners = sample_corners(roi != FOREGROUND, num=num, size=size)
        crops = cut_crops(views['local_view'], corners, size)  # (B, num, 3, size, size)
        shows_object = is_positive(cut_crops(roi, corners, size))  # (B, num)

        first = tokens.cls_token[:, 0]  # (B, D): the main crop is the first global view
        second = self.backbone.tokens(views['global_view']).cls_token[:, 0]
        local = self.backbone.tokens(crops.flatten(0, 1)).cls_token[:, 0].unflatten(0, (-1, num))  # (B, num, D)
        global_tokens = torch.stack((first, second), dim=1)  # (B, 2, D)
        student = self.projector(torch.cat((global_tokens, local), dim=1))
        teacher = self.projector.project_global(global_tokens)
        always = shows_object.new_ones(len(shows_object), 2)
        return self.loss_ctc(student, teacher, torch.cat((always, shows_object), dim=1))
