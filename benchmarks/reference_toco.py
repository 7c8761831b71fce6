"""Reference implementation of ToCo's training step: what the paper and its code compute, in their order.

Kept to measure against (``toco_speedup.py``) and to check that no saving changes a loss. It has the parameters, losses
and draws of :class:`mmseg_wsss.models.ToCo` and does the following work which that leaves out:

- attention maps are formed and kept for the backward pass;
- the multi-scale CAM runs image and mirror image at every scale, scale 1 too, and the decoder with them;
- CAMs, thresholds and labels are made for all classes;
- student and teacher run the encoder over both global views, although the first is the training crop;
- pseudo-labels are refined image by image, once per background threshold;
- class token contrast is a loop over images, anchors and views, which waits for the device.
"""

from collections.abc import Sequence
from types import MethodType

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmpretrain.models.utils import MultiheadAttention
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_wsss.constants import BACKGROUND, IGNORE
from mmseg_wsss.models import ToCo
from mmseg_wsss.models.cam import (
    FOREGROUND,
    cam_to_label,
    cam_to_roi,
    cut_crops,
    is_positive,
    pair_relation,
    sample_corners,
    scale_bilinear,
)
from mmseg_wsss.structures import image_scores


def explicit_attention(attn: MultiheadAttention, x: Tensor) -> Tensor:
    """Self-attention of tokens (B, n, D) by its maps (B, heads, n, n)."""
    qkv = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    maps = (query @ key.transpose(-2, -1) * attn.head_dims**-0.5).softmax(dim=-1)
    mixed = (maps @ value).transpose(1, 2).flatten(2)
    return attn.out_drop(attn.gamma1(attn.proj_drop(attn.proj(mixed))))


@MODELS.register_module()
class ReferenceToCo(ToCo):
    """See the module; arguments are those of ``ToCo`` with every loss on."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        for layer in self.backbone.layers:
            layer.attn.forward = MethodType(explicit_attention, layer.attn)

    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """All terms of the training objective; see ``ToCo.loss``."""
        images, label = inputs['img'], image_scores(data_samples)
        cam, cam_aux = (maps * label[:, :, None, None] for maps in self._reference_cams(images))
        valid = self.valid_mask(images, data_samples)
        contrast = self._reference_class_contrast(inputs, cam_aux)

        maps = self.backbone(images)
        logits = self.decode_head(maps)
        grid = maps[-1].shape[-2:]
        token_cam = F.interpolate(cam_aux, size=grid, mode='bilinear', align_corners=False)
        token_valid = F.interpolate(valid[:, None].float(), size=grid, mode='nearest-exact')[:, 0] > 0
        token_label = cam_to_label(token_cam, low=self.low, high=self.high, valid=token_valid)
        losses = dict(
            **self.classification_losses(maps, label),
            loss_ptc=self.loss_ptc(maps[-1], *pair_relation(token_label)),
            loss_ctc=contrast,
        )
        if self.has_begun('loss_seg'):
            unit = self.data_preprocessor.to_unit(images)
            pseudo = self._reference_pseudo_label(cam, unit, label, valid)
            samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in pseudo]
            segmentation = self.decode_head.loss_by_feat(logits, samples)
            losses.update({f'decode.{name}': value for name, value in segmentation.items()})
            if self.loss_reg is not None:
                losses['loss_reg'] = self.loss_reg(unit, logits, pseudo, valid)
        self.iteration += 1
        return losses

    @torch.no_grad()
    def _reference_cams(self, images: Tensor) -> list[Tensor]:
        """Final and auxiliary CAM (B, C, H, W) of all classes."""
        sums = [0, 0]
        for scale in self.cam_scales:
            scaled = scale_bilinear(images, scale)
            maps = self.backbone(torch.cat((scaled, scaled.flip(-1))))
            self.decode_head(maps)  # the published network answers with its segmentation too
            for index, head in enumerate((self.cam_head, self.aux_cam_head)):
                both = F.interpolate(
                    head.cams(maps).float(), size=images.shape[-2:], mode='bilinear', align_corners=False
                )
                straight, mirrored = both.chunk(2)
                sums[index] = sums[index] + torch.maximum(straight, mirrored.flip(-1)).relu()
        shifted = [cam - cam.amin((2, 3), keepdim=True) for cam in sums]
        return [cam / (cam.amax((2, 3), keepdim=True) + 1e-5) for cam in shifted]

    def _reference_class_contrast(self, views: dict[str, Tensor], cam_aux: Tensor) -> Tensor:
        """CTC by loops over images, anchors and positives."""
        self.projector.update()
        roi = cam_to_roi(cam_aux, low=self.low, high=self.high)
        corners = sample_corners(roi != FOREGROUND, num=self.num_local_crops, size=self.local_crop_size)
        crops = cut_crops(views['local_view'], corners, self.local_crop_size).transpose(0, 1).flatten(0, 1)
        positive = is_positive(cut_crops(roi, corners, self.local_crop_size))
        both = torch.cat((views['img'], views['global_view']))
        teacher = self.projector.project_global(self.backbone.tokens(both).cls_token[:, 0].detach())
        tokens = torch.cat((self.backbone.tokens(both).cls_token[:, 0], self.backbone.tokens(crops).cls_token[:, 0]))
        student = self.projector(tokens).float().unflatten(0, (-1, len(roi)))  # (2 + num, B, P)
        teacher = teacher.float().unflatten(0, (2, -1))
        loss = self.loss_ctc
        terms = []
        for image in range(len(roi)):
            is_object = [True, True, *positive[image].tolist()]
            views_ = student[:, image]
            of_image = []
            for anchor in teacher[:, image]:
                likeness = [anchor @ view / loss.temperature for view in views_]
                others = sum(one.exp() for one, shows in zip(likeness, is_object, strict=True) if not shows) + loss.eps
                of_image += [
                    -torch.log(one.exp() / (one.exp() + others))
                    for one, shows in zip(likeness, is_object, strict=True)
                    if shows
                ]
            terms.append(torch.stack(of_image).mean())
        return loss.loss_weight * torch.stack(terms).mean()

    @torch.no_grad()
    def _reference_pseudo_label(self, cam: Tensor, unit: Tensor, label: Tensor, valid: Tensor) -> Tensor:
        """Refined pseudo-labels (B, H, W), image by image and threshold by threshold, of the present classes."""
        size = cam.shape[-2:]
        half = tuple(side // 2 for side in size)
        result = torch.full((len(cam), *size), IGNORE, device=cam.device)
        for index, (image, maps, tags) in enumerate(zip(unit, cam, label, strict=True)):
            present = tags.nonzero()[:, 0]
            names = F.pad(present + 1, (1, 0))  # 0 for background
            small_image = F.interpolate(image[None], size=half, mode='bilinear', align_corners=False)
            small_cam = F.interpolate(maps[None], size=half, mode='bilinear', align_corners=False)[:, present]
            winners = []
            for threshold in (self.high, self.low):
                scores = F.pad(small_cam, (0, 0, 0, 0, 1, 0), value=threshold).softmax(dim=1)
                refined = self.refiner(small_image, scores)
                full = F.interpolate(refined, size=size, mode='bilinear', align_corners=False)
                winners.append(names[full.argmax(dim=1)[0]])
            one = torch.where(winners[0] > 0, winners[0], IGNORE)
            one = torch.where((winners[0] == 0) & (winners[1] == 0), BACKGROUND, one)
            result[index] = torch.where(valid[index], one, IGNORE)
        return result
