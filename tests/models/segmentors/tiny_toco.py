"""A ToCo small enough for tests: 32-pixel images, patches of 8, three classes."""

import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_wsss.models import ToCo
from mmseg_wsss.structures import set_image_label

CLASSES, CHANNELS, SIZE = 3, 32, 32


def tiny_config(**changes) -> dict:
    """The config of the tiny model; keyword arguments replace its top-level values."""
    cam_head = dict(type='ClsCAMHead', num_classes=CLASSES, in_channels=CHANNELS)
    config = dict(
        type='ToCo',
        data_preprocessor=dict(
            type='WSSSDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, size=(SIZE, SIZE)
        ),
        backbone=dict(
            type='TokenViT',
            arch=dict(embed_dims=CHANNELS, num_layers=4, num_heads=2, feedforward_channels=64),
            img_size=SIZE,
            patch_size=8,
            out_indices=(1, 3),
        ),
        cam_head=dict(cam_head, in_index=1),
        aux_cam_head=dict(cam_head, in_index=0),
        projector=dict(
            type='EMAProjector', in_channels=CHANNELS, hidden_channels=16, bottleneck_channels=8, out_channels=12
        ),
        loss_ptc=dict(type='PatchTokenContrastLoss'),
        loss_ctc=dict(type='ClassTokenContrastLoss'),
        refiner=dict(type='PAR', num_iter=2, dilations=(1, 2)),
        num_local_crops=4,
        local_crop_size=16,
        decode_head=fcn_head(),
        test_cfg=dict(mode='whole', cam=True),
    )
    config.update(changes)
    return config


def fcn_head() -> dict:
    """LargeFOV, narrow."""
    return dict(
        type='FCNHead',
        in_channels=CHANNELS,
        in_index=1,
        channels=16,
        num_convs=2,
        dilation=5,
        concat_input=False,
        dropout_ratio=0.0,
        norm_cfg=None,
        num_classes=CLASSES + 1,
        loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.1),
    )


def build_toco(**changes) -> ToCo:
    """A tiny model with initialised weights, in training mode."""
    init_default_scope('mmseg')
    model = MODELS.build(ConfigDict(tiny_config(**changes)))  # mmseg reads test_cfg by attribute
    model.backbone.init_weights()
    return model.train()


def make_batch(labels: list[list[int]], size: int = SIZE) -> tuple[dict, list[SegDataSample]]:
    """Random normalised views and samples with these foreground indices."""
    count = len(labels)
    generator = torch.Generator().manual_seed(7)
    names = ('img', 'global_view', 'local_view')
    views = {name: torch.randn(count, 3, size, size, generator=generator) for name in names}
    metainfo = dict(valid_box=(0, size, 0, size), ori_shape=(size, size), img_shape=(size, size))
    samples = [set_image_label(SegDataSample(metainfo=metainfo), label, CLASSES) for label in labels]
    return views, samples


def total(losses: dict) -> torch.Tensor:
    """What mmengine sums: everything whose name contains ``loss``."""
    return sum(value for key, value in losses.items() if 'loss' in key)
