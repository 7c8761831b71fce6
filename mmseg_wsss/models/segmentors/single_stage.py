"""What single-stage methods share: one network that is trained on the pseudo-labels of its own CAMs."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from ...structures import most_classes
from ..cam import PresentClasses, cam_to_label, multi_scale_cam, pair_relation, refined_label, valid_mask
from .base import CAMSegmentor, StartedLosses, Starts
from .parts import FittedDecodeHead, completed, token_width


class SingleStage(StartedLosses, CAMSegmentor, FittedDecodeHead, EncoderDecoder):
    """An ``EncoderDecoder`` with a classifier on its tokens, whose CAMs label the images for its decode head.

    Necks, decode heads, auxiliary heads, inference and test-time augmentation are mmseg's own. A method defines
    ``loss``, which can be composed of the public methods of this class and of the method's own losses.

    Args:
        num_classes: number of foreground classes C, for the parts whose configs leave theirs out.
        decode_head: any mmseg decode head with C + 1 classes; trained on the refined pseudo-labels.
        cam_head: classifier on the final tokens; its CAM is ``cam``.
        aux_cam_head: classifier on the tokens of an intermediate block; its CAM is ``cam_aux``.
        refiner: refinement of the pseudo-labels; ``None`` turns the segmentation loss off.
        loss_reg: dense energy of the segmentation; needs ``refiner`` and a decode head with mmseg's common loss.
        cam_scales: scales of the multi-scale CAM.
        cam_thresholds: (beta_l, beta_h), background at or below the first, foreground above the second.
        test_cfg: mmseg's, and ``cam=True`` to return the CAMs beside the segmentation.
        **kwargs: of ``CAMSegmentor`` and ``EncoderDecoder``.

    Raises:
        ValueError: a part that a configured loss needs is missing, numbers of classes or channels disagree, or the
            thresholds are not 0 <= low < high <= 1.
    """

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        decode_head: dict,
        cam_head: dict,
        aux_cam_head: dict | None = None,
        refiner: dict | None = None,
        loss_reg: dict | None = None,
        cam_scales: Sequence[float] = (1.0, 0.5, 1.5),
        cam_thresholds: tuple[float, float] = (0.25, 0.7),
        **kwargs,
    ) -> None:
        super().__init__(num_classes=num_classes, decode_head=decode_head, **kwargs)
        self.low, self.high = cam_thresholds
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f'cam_thresholds must be 0 <= low < high <= 1, got {cam_thresholds}')
        if loss_reg and not refiner:
            raise ValueError('loss_reg needs refiner: where a pixel has a pseudo-label, the energy pulls less')
        if loss_reg:
            self.require_logits('loss_reg')
        fit = dict(num_classes=num_classes, in_channels=token_width(self.backbone))
        self.cam_head = MODELS.build(completed(cam_head, 'cam_head', **fit))
        if self.cam_head.num_classes + 1 != self.num_classes:
            raise ValueError(
                f'decode_head.num_classes is {self.num_classes}; cam_head.num_classes is {self.cam_head.num_classes}, '
                'so it must be one more (background)'
            )
        self.aux_cam_head = MODELS.build(completed(aux_cam_head, 'aux_cam_head', **fit)) if aux_cam_head else None
        self.refiner = MODELS.build(refiner) if refiner else None
        self.loss_reg = MODELS.build(loss_reg) if loss_reg else None
        self.cam_scales = tuple(cam_scales)
        if self.refiner:
            self.trains['loss_seg'] = ('neck', 'decode_head', 'auxiliary_head')

    def require_logits(self, loss: str) -> None:
        """Refuse a decode head whose own loss is not made of its logits, for a ``loss`` that uses them too.

        Raises:
            ValueError: the decode head has a loss of its own.
        """
        head = type(self.decode_head)
        if (head.loss, head.loss_by_feat) != (BaseDecodeHead.loss, BaseDecodeHead.loss_by_feat):
            raise ValueError(
                f'{loss} needs the logits that the segmentation loss is made of; {head.__name__} makes its '
                f'loss differently. Set {loss}=None or use another decode_head'
            )

    def set_starts(self, starts: Starts | None, names: Sequence[str]) -> None:
        """As in the contract; the dense energy cannot start before the segmentation loss, whose logits it uses."""
        super().set_starts(starts, names)
        if self.loss_reg and self.starts.get('loss_reg', 0) < self.starts.get('loss_seg', 0):
            raise ValueError(f'loss_reg needs the logits of loss_seg: it cannot begin before it, got starts={starts}')

    def classification_losses(self, maps: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Losses of the classifiers against multi-hot labels (B, C)."""
        losses = self.cam_head.loss(maps, label)
        if self.aux_cam_head is not None:
            losses |= {f'{name}_aux': value for name, value in self.aux_cam_head.loss(maps, label).items()}
        return losses

    def raw_cams(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """CAMs (B, C, h, w) on the token grid, not normalised."""
        cams = dict(cam=self.cam_head.cams(maps))
        return cams if self.aux_cam_head is None else cams | dict(cam_aux=self.aux_cam_head.cams(maps))

    @torch.no_grad()
    def cams(self, images: Tensor, *, maps: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Multi-scale CAMs; see the contract."""
        return multi_scale_cam(
            lambda x: self.raw_cams(self.backbone(x)),
            images,
            scales=self.cam_scales,
            at_scale_one=None if maps is None else self.raw_cams(maps),
        )

    @torch.no_grad()
    def tag_scores(self, images: Tensor) -> Tensor:
        """Probabilities of ``cam_head``; see the contract."""
        return self.cam_head(self.backbone(images)).float().sigmoid()

    def present_classes(self, label: Tensor, data_samples: Sequence[SegDataSample]) -> PresentClasses:
        """The present classes of each image of a batch, from multi-hot labels (B, C)."""
        return PresentClasses.of(label, most_classes(data_samples))

    def training_cams(self, images: Tensor, maps: Sequence[Tensor], present: PresentClasses) -> dict[str, Tensor]:
        """CAMs (B, K, H, W) of the present classes; the pass at scale 1 is the main forward's ``maps``."""

        def raw_cams(maps: Sequence[Tensor]) -> dict[str, Tensor]:
            return {name: present.select(cam) for name, cam in self.raw_cams(maps).items()}

        cams = multi_scale_cam(
            lambda x: raw_cams(self.backbone(x)), images, scales=self.cam_scales, at_scale_one=raw_cams(maps)
        )
        return {name: cam * present.score[:, :, None, None] for name, cam in cams.items()}

    def valid_mask(self, images: Tensor, data_samples: Sequence[SegDataSample]) -> Tensor:
        """Which pixels of the crops show the image and not padding, bool (B, H, W)."""
        size = images.shape[-2:]
        boxes = [sample.metainfo.get('valid_box', (0, size[0], 0, size[1])) for sample in data_samples]
        return valid_mask(boxes, size, images.device)

    def token_relation(
        self, grid: Sequence[int], cam: Tensor, valid: Tensor, *, high: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Which pairs of tokens have the same or different labels by a CAM, for patch token contrast.

        Args:
            grid: (h, w) of the tokens.
            cam: (B, K, H, W), masked by image-level labels.
            valid: bool (B, H, W), which pixels show the image.
            high: upper threshold of each image (B,), by default that of ``cam_thresholds``.

        Returns:
            positive, negative: bool (B, h * w, h * w), see ``pair_relation``.
        """
        high = self.high if high is None else high
        return pair_relation(self.token_label(grid, cam, valid, low=self.low, high=high))

    def token_label(
        self, grid: Sequence[int], cam: Tensor, valid: Tensor, *, low: float, high: float | Tensor
    ) -> Tensor:
        """Labels (B, h, w) of the tokens of a grid with 0, 1..K and 255; see ``cam_to_label`` for the thresholds.

        Args:
            grid, cam, valid: as in :meth:`token_relation`.
            low, high: thresholds.
        """
        token_cam = F.interpolate(cam, size=tuple(grid), mode='bilinear', align_corners=False)
        # a token is valid if its centre shows the image ('nearest' alone would test its corner)
        token_valid = F.interpolate(valid[:, None].float(), size=tuple(grid), mode='nearest-exact')[:, 0] > 0
        return cam_to_label(token_cam, low=low, high=high, valid=token_valid)

    def pseudo_label(
        self, unit: Tensor, cam: Tensor, present: PresentClasses, valid: Tensor, *, high: Tensor | None = None
    ) -> Tensor:
        """Refined labels (B, H, W) with 0, 1..C and 255, of CAMs (B, K, H, W) of the present classes.

        Args:
            unit: the images (B, 3, H, W) in [0, 1], of ``data_preprocessor.to_unit``.
            cam, present, valid: of :meth:`training_cams`, :meth:`present_classes` and :meth:`valid_mask`.
            high: upper threshold of each image (B,), by default that of ``cam_thresholds``.
        """
        high = self.high if high is None else high
        label = refined_label(cam, unit, present.score, self.refiner, low=self.low, high=high, valid=valid)
        return present.to_class(label)

    def segmentation_losses(
        self,
        maps: Sequence[Tensor],
        label: Tensor,
        data_samples: Sequence[SegDataSample],
        *,
        unit: Tensor,
        valid: Tensor,
        logits: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The heads' own losses on labels (B, H, W) and, once it has started, the dense energy of the same logits.

        The labels are written into copies of the samples, so that every mmseg decode head works unchanged. If the
        method already has the ``logits`` of the decode head, which must then have mmseg's common loss, they are used.
        """
        samples = [
            SegDataSample(metainfo=sample.metainfo, gt_sem_seg=PixelData(data=one[None]))
            for sample, one in zip(data_samples, label, strict=True)
        ]
        feats = self.neck(maps) if self.with_neck else maps
        with_energy = self.loss_reg is not None and self.has_begun('loss_reg')
        if logits is None and not with_energy:
            losses = self._decode_head_forward_train(feats, samples)
        else:
            logits = self.decode_head(feats) if logits is None else logits
            losses = add_prefix(self.decode_head.loss_by_feat(logits, samples), 'decode')
        if with_energy:
            losses['loss_reg'] = self.loss_reg(unit, logits, label, valid)
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(feats, samples))
        return losses

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """mmseg's prediction; with ``test_cfg.cam`` also the CAMs at the original image size.

        Returns:
            samples with ``pred_sem_seg``, ``seg_logits`` and, when asked for, one PixelData per CAM whose ``data`` is
            (C, H, W) in [0, 1), masked by image-level labels where the sample has them.
        """
        if not self.test_cfg.get('cam', False):
            return super().predict(inputs, data_samples)
        whole = []  # maps of whole images can be reused; those of sliding windows cannot
        listener = self.backbone.register_forward_hook(
            lambda _, args, maps: whole.append(maps) if args[0] is inputs else None
        )
        try:
            samples = super().predict(inputs, data_samples)
        finally:
            listener.remove()
        cams = self.cams(inputs, maps=whole[0] if whole else None)
        self.add_cams(samples, self.original_cams(cams, data_samples))
        return samples
