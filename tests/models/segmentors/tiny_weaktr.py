"""A first stage of WeakTr small enough for tests: 32-pixel images, patches of 8, three classes."""

import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_toco import CHANNELS, CLASSES, SIZE, tiny_config

from mmseg_wsss.models import WeakTr

BLOCKS, HEADS = 2, 2
HEAD_WEIGHTS = dict(
    type='OutputPooledWeights', num_blocks=BLOCKS, num_heads=HEADS, head_dims=CHANNELS // HEADS, reduction=2
)


def weaktr_config(head: dict | None = None, **changes) -> dict:
    """The config of the tiny model; ``head`` changes its CAM head, keyword arguments its top-level values."""
    cam_head = dict(type='AAFCAMHead', num_classes=CLASSES, in_channels=CHANNELS, head_weights=HEAD_WEIGHTS)
    config = dict(
        type='WeakTr',
        data_preprocessor=tiny_config()['data_preprocessor'],
        backbone=dict(
            type='TokenViT',
            arch=dict(embed_dims=CHANNELS, num_layers=BLOCKS, num_heads=HEADS, feedforward_channels=64),
            img_size=SIZE,
            patch_size=8,
            num_cls_tokens=CLASSES,
            final_norm=False,
        ),
        cam_head=cam_head | (head or {}),
        cam_scales=(1.0, 0.5),
        background_threshold=0.4,
        test_cfg=dict(cam=True),
    )
    return config | changes


def build_weaktr(head: dict | None = None, **changes) -> WeakTr:
    """A tiny model with initialised weights, in training mode."""
    init_default_scope('mmseg')
    model = MODELS.build(ConfigDict(weaktr_config(head, **changes)))
    model.backbone.init_weights()
    with torch.no_grad():  # random tokens that differ, as trained ones do
        model.backbone.cls_token.normal_()
    return model.train()
