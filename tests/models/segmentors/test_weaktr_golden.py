"""The first stage against outputs of the published network."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from published import published_weights

from mmseg_wsss.checkpoints import WEAKTR_CAM

SMALL = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192)


def build(arch, num_classes, img_size, head_weights):
    init_default_scope('mmseg')
    channels = 48 if arch is SMALL else 384
    backbone = dict(
        type='TokenViT',
        arch=arch,
        img_size=img_size,
        num_cls_tokens=num_classes,
        final_norm=False,
        pos_embed_offset=0.1,
    )
    head = dict(type='AAFCAMHead', num_classes=num_classes, in_channels=channels, head_weights=head_weights)
    return MODELS.build(dict(type='WeakTr', backbone=backbone, cam_head=head)).eval()


def assert_recorded(model, weights, recorded, images):
    model.load_state_dict(WEAKTR_CAM.to_ours(weights))
    with torch.no_grad():
        tokens = model.backbone.tokens(images, record=model.cam_head.record)
        coarse, fine = model.cam_head(tokens)
        model.cam_head.patch_attention = False
        crossed = model.cam_head(tokens).fine
    near = dict(rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(tokens.cls_token.mean(-1), recorded['cls_token_logits'], **near)
    torch.testing.assert_close(coarse.mean((-2, -1)), recorded['coarse_logits'], **near)
    torch.testing.assert_close(fine.mean((-2, -1)), recorded['fine_logits'], **near)
    torch.testing.assert_close(crossed, recorded['cross_times_coarse'], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(fine, recorded['fine_cam'], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize('name', ['small', 'small_wide'])
def test_small_network_gives_the_recorded_outputs(name, golden):
    recorded = golden(f'weaktr_{name}')
    head_weights = dict(type='OutputPooledWeights', num_blocks=3, num_heads=3, head_dims=16, reduction=3)
    model = build(SMALL, 5, 64, head_weights)
    assert_recorded(model, published_weights('weaktr_small'), recorded, recorded['x'])


@pytest.mark.parametrize('name', ['deit_s', 'deit_s_wide'])
def test_deit_s_gives_the_recorded_outputs(name, golden):
    recorded = golden(f'weaktr_{name}')
    size = recorded['size'].tolist()
    images = torch.from_numpy(np.random.RandomState(1023).randn(1, 3, *size).astype(np.float32))
    model = build('deit-small', 20, 224, dict(type='OutputPooledWeights'))
    assert_recorded(model, published_weights('weaktr_deit_s'), recorded, images)
