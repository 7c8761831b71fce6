"""The small DuPL of the recordings: 48 channels, four blocks, six classes, weights drawn from a seed."""

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from published import published_weights

from mmseg_wsss.checkpoints import DUPL
from mmseg_wsss.datasets.transforms import StrongPhotometry
from mmseg_wsss.models import DuPL
from mmseg_wsss.structures import set_image_label

CLASSES, SIZE = 6, 128
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
STARTS = dict(loss_seg=2001, threshold=2000, noise_filter=8000, loss_consistency=8001)


def small_config(**changes) -> dict:
    """The config of the recorded iterations; keyword arguments replace its top-level values."""
    config = dict(
        type='DuPL',
        num_classes=CLASSES,
        data_preprocessor=dict(type='WSSSDataPreProcessor', mean=MEAN.tolist(), std=STD.tolist(), bgr_to_rgb=True),
        backbone=dict(
            type='TokenViT',
            arch=dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192),
            img_size=64,
            out_indices=(1, 3),
            freeze_pos_embed=True,
        ),
        cam_head=dict(type='ClsCAMHead', in_index=1),
        aux_cam_head=dict(type='ClsCAMHead', in_index=0),
        loss_ptc=dict(type='PatchTokenContrastLoss'),
        loss_discrepancy=dict(type='FeatureDiscrepancyLoss', as_published=True),
        loss_consistency=dict(type='ConfidentConsistencyLoss'),
        noise_filter=dict(type='MixtureNoiseFilter', min_gap=0.02, as_published=True),
        end_thresholds=(0.7, 0.55, 0.55, 0.7, 0.55, 0.55),
        refiner=dict(type='PAR'),
        decode_head=dict(
            type='FCNHead',
            in_index=1,
            channels=512,
            num_convs=2,
            dilation=5,
            concat_input=False,
            dropout_ratio=0.0,
            norm_cfg=None,
            loss_decode=dict(type='BalancedCrossEntropyLoss', loss_weight=0.2),
        ),
        starts=STARTS,
        as_published=True,
        test_cfg=dict(mode='whole', cam=True),
    )
    config.update(changes)
    return config


def build(*, sure: bool = False, **changes) -> DuPL:
    """The small network with the drawn weights; ``sure``: a decoder that is sure of some pixels."""
    init_default_scope('mmseg')
    model = MODELS.build(ConfigDict(small_config(**changes)))
    weights = published_weights('dupl_small')
    if sure:
        weights = {key: value * (80 if 'decoder.conv8' in key else 1) for key, value in weights.items()}
    model.load_state_dict(DUPL.to_ours(weights))
    model.iteration = 0
    return model.train()


def strong_views(images: torch.Tensor, drawn: list[list[int]]) -> torch.Tensor:
    """What the drawn operations make of normalised images (B, 3, H, W), normalised; not flipped."""
    levels = np.rint(images.numpy().transpose(0, 2, 3, 1) * STD + MEAN - 0.5).astype(np.uint8)
    changed = [StrongPhotometry().apply(one[..., ::-1], ops)[..., ::-1] for one, ops in zip(levels, drawn, strict=True)]
    return torch.from_numpy(((np.stack(changed) - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32))


def samples_of(scores: torch.Tensor, boxes: torch.Tensor, size: int = SIZE) -> list[SegDataSample]:
    """Samples with these image-level labels (B, C) and boxes (B, 4)."""
    metainfo = dict(ori_shape=(size, size), img_shape=(size, size))
    return [
        set_image_label(
            SegDataSample(metainfo=dict(metainfo, valid_box=tuple(map(int, box)))), score.nonzero()[:, 0], CLASSES
        )
        for score, box in zip(scores, boxes, strict=True)
    ]


def total(losses: dict) -> torch.Tensor:
    """What mmengine sums: everything whose name contains ``loss``."""
    return sum(value for key, value in losses.items() if 'loss' in key)
