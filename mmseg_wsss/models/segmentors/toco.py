"""ToCo: token contrast for weakly-supervised segmentation (Ru et al., CVPR 2023)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from ...structures import image_scores, most_classes
from ..backbones import Tokens
from ..cam import (
    PresentClasses,
    cam_to_label,
    cam_to_roi,
    cut_crops,
    is_positive,
    multi_scale_cam,
    pair_relation,
    refined_label,
    sample_corners,
    valid_mask,
)
from .base import StartedLosses, zero_gradient
from .cam_prediction import cams_of_samples

STARTS = ('loss_ptc', 'loss_ctc', 'loss_seg', 'loss_reg', 'final_cam')


@MODELS.register_module()
class ToCo(StartedLosses, EncoderDecoder):
    """Single-stage segmentation from image-level labels (ToCo Figure 3, Eq. 5).

    A mmseg ``EncoderDecoder``: necks, decode heads, auxiliary heads, inference and test-time augmentation are mmseg's
    own. The training inputs are ``dict(img=..., global_view=..., local_view=...)`` (see ``MultiView``), the labels
    image-level ones. Every part that is ``None`` is left out of the loss, which gives the rows of Table 4.

    Args:
        backbone: a backbone with ``tokens`` (``TokenViT``) whose ``out_indices`` hold the auxiliary and the last block.
        decode_head: any mmseg decode head with C + 1 classes; trained on the refined pseudo-labels.
        cam_head: classifier on the final tokens.
        aux_cam_head: classifier on the tokens of an intermediate block.
        loss_ptc: patch token contrast; needs ``aux_cam_head``.
        loss_ctc: class token contrast; needs ``aux_cam_head`` and ``projector``.
        projector: projection head with its EMA twin; not built where ``loss_ctc`` is off.
        refiner: refinement of the pseudo-labels; ``None`` turns the segmentation loss off.
        loss_reg: dense energy of the segmentation; needs ``refiner`` and a decode head with mmseg's common loss.
        cam_scales: scales of the multi-scale CAM.
        cam_thresholds: (beta_l, beta_h), background at or below the first, foreground above the second.
        num_local_crops, local_crop_size: local views per image and their side in pixels.
        starts: first iteration, counted from 0, of ``loss_ptc``, ``loss_ctc``, ``loss_seg`` and ``loss_reg``, and of
            ``final_cam``: before it the pseudo-labels come from the auxiliary CAM. 0 where it is left out. Published:
            2001 for the two segmentation losses on VOC; 8001 for them and 12001 for the rest on COCO.
        test_cfg: mmseg's, and ``cam=True`` to return ``cam`` and ``cam_aux`` beside the segmentation.
        **kwargs: further arguments of ``EncoderDecoder``.

    Raises:
        ValueError: a loss is configured whose parts are missing, the thresholds are not 0 <= low < high <= 1, or
            ``starts`` has an unknown name or lets the dense energy begin before the segmentation loss.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        decode_head: dict,
        cam_head: dict,
        aux_cam_head: dict | None = None,
        loss_ptc: dict | None = None,
        loss_ctc: dict | None = None,
        projector: dict | None = None,
        refiner: dict | None = None,
        loss_reg: dict | None = None,
        cam_scales: Sequence[float] = (1.0, 0.5, 1.5),
        cam_thresholds: tuple[float, float] = (0.25, 0.7),
        num_local_crops: int = 8,
        local_crop_size: int = 96,
        starts: Mapping[str, int] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(backbone=backbone, decode_head=decode_head, **kwargs)
        self.low, self.high = cam_thresholds
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f'cam_thresholds must be 0 <= low < high <= 1, got {cam_thresholds}')
        if loss_ptc and not aux_cam_head:
            raise ValueError('loss_ptc needs aux_cam_head: its token labels come from the auxiliary CAM')
        if loss_ctc and not (aux_cam_head and projector):
            raise ValueError('loss_ctc needs aux_cam_head (where to crop) and projector (what to compare)')
        if loss_reg and not refiner:
            raise ValueError('loss_reg needs refiner: where a pixel has a pseudo-label, the energy pulls less')
        head = type(self.decode_head)
        if loss_reg and (head.loss, head.loss_by_feat) != (BaseDecodeHead.loss, BaseDecodeHead.loss_by_feat):
            raise ValueError(
                f'loss_reg needs the logits that the segmentation loss is made of; {head.__name__} makes its '
                'loss in a way of its own. Set loss_reg=None or take another decode_head'
            )
        self.cam_head = MODELS.build(cam_head)
        if self.cam_head.num_classes + 1 != self.num_classes:
            raise ValueError(
                f'decode_head.num_classes is {self.num_classes}; cam_head.num_classes is {self.cam_head.num_classes}, '
                'so it must be one more (background)'
            )
        self.aux_cam_head = MODELS.build(aux_cam_head) if aux_cam_head else None
        self.loss_ptc = MODELS.build(loss_ptc) if loss_ptc else None
        self.loss_ctc = MODELS.build(loss_ctc) if loss_ctc else None
        self.projector = MODELS.build(projector) if loss_ctc else None
        self.refiner = MODELS.build(refiner) if refiner else None
        self.loss_reg = MODELS.build(loss_reg) if loss_reg else None
        self.cam_scales = tuple(cam_scales)
        self.num_local_crops = num_local_crops
        self.local_crop_size = local_crop_size
        self.set_starts(starts, STARTS)
        if self.loss_reg and self.starts['loss_reg'] < self.starts['loss_seg']:
            raise ValueError(f'loss_reg needs the logits of loss_seg: it cannot begin before it, got starts={starts}')
        if self.refiner and not self.aux_cam_head and self.starts['final_cam'] > self.starts['loss_seg']:
            raise ValueError(f'starts={starts} asks for labels of an auxiliary CAM: set aux_cam_head or final_cam=0')

    def loss(self, inputs: dict[str, Tensor] | Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """All terms of the training objective.

        Args:
            inputs: ``img`` (B, 3, H, W); ``global_view`` and ``local_view`` of the same shape where ``loss_ctc`` is
                on. A plain tensor stands for ``img``.
            data_samples: with image-level labels and ``valid_box``.
        """
        views = inputs if isinstance(inputs, dict) else dict(img=inputs)
        images, label = views['img'], image_scores(data_samples)
        tokens = self.backbone.tokens(images)
        losses = dict(loss_cls=self.cam_head.loss(tokens.maps, label))
        if self.aux_cam_head is not None:
            losses['loss_cls_aux'] = self.aux_cam_head.loss(tokens.maps, label)

        parts = dict(loss_ptc=self.loss_ptc, loss_ctc=self.loss_ctc, loss_seg=self.refiner)
        begun = {name for name, part in parts.items() if part is not None and self.has_begun(name)}
        if begun:
            present = PresentClasses.of(label, most_classes(data_samples))
            cam, cam_aux = self._training_cams(images, tokens, present)
            valid = self._valid_mask(images, data_samples)
        if 'loss_ptc' in begun:
            losses['loss_ptc'] = self._patch_contrast(tokens, cam_aux, valid)
        if 'loss_ctc' in begun:
            losses['loss_ctc'] = self._class_contrast(views, tokens, cam_aux)
        elif self.loss_ctc:
            self.projector.update()  # as published, the teacher follows from the first step on
        if 'loss_seg' in begun:
            source = cam if self.has_begun('final_cam') else cam_aux
            pseudo = self._with_pseudo_label(data_samples, images, source, present, valid)
            feats = self.neck(tokens.maps) if self.with_neck else tokens.maps
            losses.update(self._decode_head_forward_train(feats, pseudo, images, valid))
            if self.with_auxiliary_head:
                losses.update(self._auxiliary_head_forward_train(feats, pseudo))
        losses.update(self._not_begun(begun))
        self.iteration += 1
        return losses

    def _not_begun(self, begun: set[str]) -> dict[str, Tensor]:
        """Gradients of 0 for what the losses that have not begun will train."""
        names = {'projector'} if self.loss_ctc and 'loss_ctc' not in begun else set()
        if self.refiner and 'loss_seg' not in begun:
            names |= {'neck', 'decode_head', 'auxiliary_head'}
        modules = [module for name, module in self.named_children() if name in names]
        return dict(loss_not_begun=zero_gradient(modules)) if modules else {}

    def _raw_cams(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Final and (where there is one) auxiliary raw CAM, each (B, C, h, w)."""
        heads = [self.cam_head] if self.aux_cam_head is None else [self.cam_head, self.aux_cam_head]
        return tuple(head.cam(maps) for head in heads)

    def _training_cams(self, images: Tensor, tokens: Tokens, present: PresentClasses) -> tuple[Tensor, Tensor | None]:
        """CAMs (B, K, H, W) of the classes present; the pass at scale 1 is the main forward's."""

        def raw_cams(maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return tuple(present.select(cam) for cam in self._raw_cams(maps))

        cams = multi_scale_cam(
            lambda x: raw_cams(self.backbone(x)),
            images,
            scales=self.cam_scales,
            at_scale_one=raw_cams(tokens.maps),
        )
        gated = [cam * present.score[:, :, None, None] for cam in cams]
        return gated[0], gated[1] if len(gated) > 1 else None

    def _valid_mask(self, images: Tensor, data_samples: Sequence[SegDataSample]) -> Tensor:
        size = images.shape[-2:]
        boxes = [sample.metainfo.get('valid_box', (0, size[0], 0, size[1])) for sample in data_samples]
        return valid_mask(boxes, size, images.device)

    def _patch_contrast(self, tokens: Tokens, cam_aux: Tensor, valid: Tensor) -> Tensor:
        """PTC: relations of tokens by the auxiliary CAM supervise the final tokens (Eq. 3)."""
        grid = tokens.maps[-1].shape[-2:]
        token_cam = F.interpolate(cam_aux, size=grid, mode='bilinear', align_corners=False)
        # a token counts where its centre shows the image ('nearest' alone would look at its corner)
        token_valid = F.interpolate(valid[:, None].float(), size=grid, mode='nearest-exact')[:, 0] > 0
        token_label = cam_to_label(token_cam, low=self.low, high=self.high, valid=token_valid)
        return self.loss_ptc(tokens.maps[-1], *pair_relation(token_label))

    def _class_contrast(self, views: dict[str, Tensor], tokens: Tokens, cam_aux: Tensor) -> Tensor:
        """CTC: class tokens of local crops against those of two global views (Eq. 4)."""
        if not {'global_view', 'local_view'} <= views.keys():
            raise ValueError(f'loss_ctc needs global_view and local_view beside {sorted(views)}: add them to MultiView')
        self.projector.update()
        roi = cam_to_roi(cam_aux, low=self.low, high=self.high)
        size, num = self.local_crop_size, self.num_local_crops
        corners = sample_corners(roi, num=num, size=size)
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

    def _with_pseudo_label(
        self, data_samples: Sequence[SegDataSample], images: Tensor, cam: Tensor, present: PresentClasses, valid: Tensor
    ) -> list[SegDataSample]:
        """Copies of the samples that carry the refined pseudo-label as ``gt_sem_seg``."""
        unit = self.data_preprocessor.to_unit(images)
        places = refined_label(cam, unit, present.score, self.refiner, low=self.low, high=self.high, valid=valid)
        return [
            SegDataSample(metainfo=sample.metainfo, gt_sem_seg=PixelData(data=one[None]))
            for sample, one in zip(data_samples, present.to_class(places), strict=True)
        ]

    def _decode_head_forward_train(
        self, feats: Sequence[Tensor], pseudo: Sequence[SegDataSample], images: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """The decode head's own losses and, where ``loss_reg`` is on, the dense energy (L_reg) of the same logits."""
        if self.loss_reg is None or not self.has_begun('loss_reg'):
            return super()._decode_head_forward_train(feats, pseudo)
        logits = self.decode_head(feats)
        label = torch.stack([sample.gt_sem_seg.data[0] for sample in pseudo])
        energy = self.loss_reg(self.data_preprocessor.to_unit(images), logits, label, valid)
        return dict(add_prefix(self.decode_head.loss_by_feat(logits, pseudo), 'decode'), loss_reg=energy)

    @torch.no_grad()
    def cams(self, images: Tensor, *, maps: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """Multi-scale CAMs (B, C, H, W) in [0, 1) of normalised images: the final and, if there is one, the auxiliary.

        Not multiplied by image-level labels.

        Args:
            images: (B, 3, H, W).
            maps: what the backbone gave for ``images`` already; that pass is then not repeated.
        """
        return multi_scale_cam(
            lambda x: self._raw_cams(self.backbone(x)),
            images,
            scales=self.cam_scales,
            at_scale_one=None if maps is None else self._raw_cams(maps),
        )

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """mmseg's prediction; with ``test_cfg.cam`` also the CAMs at the original image size.

        Returns:
            samples with ``pred_sem_seg``, ``seg_logits`` and, when asked for, ``cam`` and ``cam_aux``: PixelData
            whose ``data`` is (C, H, W) in [0, 1), multiplied by the image-level labels where the sample has them.
        """
        if not self.test_cfg.get('cam', False):
            return super().predict(inputs, data_samples)
        whole = []  # maps of the whole images; sliding windows show parts of them, nothing of which can be used again
        listener = self.backbone.register_forward_hook(
            lambda _, args, maps: whole.append(maps) if args[0] is inputs else None
        )
        try:
            samples = super().predict(inputs, data_samples)
        finally:
            listener.remove()
        for name, cams in zip(('cam', 'cam_aux'), self.cams(inputs, maps=whole[0] if whole else None), strict=False):
            for sample, cam in zip(samples, cams_of_samples(self, cams, data_samples), strict=True):
                sample.set_data({name: PixelData(data=cam)})
        return samples
