"""Reference implementation of WeakTr's first stage: what the paper and its code compute, in their order.

Kept to measure against (``weaktr_step.py``). It has the parameters and results of :class:`mmseg_wsss.models.WeakTr` and
does the following work which that leaves out:

- every block forms its attention maps, keeps them for backward and for the fusion;
- the maps of all heads of all blocks are stacked, weighed and averaged, those of patches to class tokens too;
- the loss is taken from the fine CAM, not from its mean;
- CAMs of scales and mirror images are one pass each, normalised class by class.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_wsss.models import WeakTr
from mmseg_wsss.models.cam import scale_bicubic


class Pass(NamedTuple):
    """Class logits (B, C), coarse and fine CAM (B, C, h, w) of one pass."""

    token: Tensor
    coarse: Tensor
    fine: Tensor


def reference_pass(model: WeakTr, images: Tensor) -> Pass:
    """One pass with explicit attention maps (``OutputPooledWeights`` with maximum)."""
    vit, head = model.backbone, model.cam_head
    x, grid = vit._embed(images)
    maps, outputs = [], []
    for layer in vit.layers:
        attn = layer.attn
        qkv = attn.qkv(layer.ln1(x)).unflatten(-1, (3, attn.num_heads, attn.head_dims))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) * attn.head_dims**-0.5).softmax(dim=-1)
        output = attn.proj((weights @ value).transpose(1, 2).flatten(2))
        x = layer.ffn(layer.ln2(x + output), identity=x + output)
        maps.append(weights)
        outputs.append(output)
    coarse = head.classifier(vit._format_output(x, grid))
    stacked = torch.stack(maps).detach().permute(1, 2, 0, 3, 4).flatten(1, 2)  # (B, H * K, n, n)
    features = torch.stack(outputs).detach().unflatten(-1, (attn.head_dims, attn.num_heads))
    pooled = features.amax(dim=2).permute(1, 0, 3, 2)  # (B, K, H, head_dims)
    head_weights = head.head_weights(list(pooled.unbind(1))).mT.flatten(1)  # (B, H * K)
    fused = (stacked * head_weights[..., None, None]).mean(dim=1)
    count = vit.num_extra_tokens
    cam = coarse.detach().relu().flatten(2) * fused[:, :count, count:]
    fine = (fused[:, count:, count:] @ cam.mT).mT
    return Pass(x[:, :count].mean(dim=-1), coarse, fine.unflatten(-1, grid))


def reference_loss(model: WeakTr, images: Tensor, label: Tensor) -> Tensor:
    """Sum of the three losses."""
    token, coarse, fine = reference_pass(model, images)
    logits = (token, coarse.mean(dim=(-2, -1)), fine.mean(dim=(-2, -1)))
    return sum(F.multilabel_soft_margin_loss(values.float(), label) for values in logits)


@torch.no_grad()
def reference_cams(model: WeakTr, image: Tensor, tags: Tensor) -> Tensor:
    """CAMs (C, H, W) in [0, 1) of one image (1, 3, H, W), zero where ``tags`` (C,) is."""
    size, total = image.shape[-2:], 0
    for scale in model.cam_scales:
        scaled = image if scale == 1 else scale_bicubic(image, scale)
        for flip in (False, True):
            fine = reference_pass(model, scaled.flip(-1) if flip else scaled).fine.float()
            fine = F.interpolate(fine, size=size, mode='bilinear', align_corners=False)[0]
            total = total + (fine.flip(-1) if flip else fine)
    result = torch.zeros_like(total)
    for index in tags.nonzero().flatten().tolist():
        cam = total[index] - total[index].min()
        result[index] = cam / (cam.max() + 1e-8)
    return result
