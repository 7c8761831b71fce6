"""The encoders of the second stage take their pretrained files: DINOv2's, and EVA-02 in mmpretrain's layout."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

CONFIGS = Path(__file__).parents[3] / 'configs' / 'weaktr'


def backbone_of(name: str, checkpoint: str):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope(cfg.default_scope)
    assert cfg.model.backbone.init_cfg.checkpoint.startswith('https://')
    cfg.model.backbone.init_cfg.checkpoint = checkpoint
    backbone = MODELS.build(cfg.model.backbone)
    backbone.init_weights()
    backbone.eval()  # mmpretrain's returns None
    return backbone, cfg


def test_dinov2_small_from_a_local_file(vit_file):
    path = vit_file('dinov2_vits14.pth')
    backbone, cfg = backbone_of('weaktr-seg_dinov2-s14_1xb4-100e_voc12aug-476x476', str(path))
    file = torch.load(path, weights_only=True)
    state = backbone.state_dict()
    assert torch.equal(state['layers.7.attn.qkv.weight'], file['blocks.7.attn.qkv.weight'].float())
    assert torch.equal(state['layers.11.ffn.gamma2.weight'], file['blocks.11.ls2.gamma'].float())
    grid = file['pos_embed'][:, 1:].float().transpose(1, 2).unflatten(2, (37, 37))
    resized = torch.nn.functional.interpolate(grid, size=(34, 34), mode='bilinear', align_corners=False)
    torch.testing.assert_close(state['pos_embed'][:, 1:], resized.flatten(2).transpose(1, 2))
    side = 28  # a grid of 2x2 tells that the map has the file's channels and the right stride
    assert backbone(torch.zeros(1, 3, side, side))[0].shape == (1, 384, 2, 2)
    assert cfg.model.data_preprocessor.size[0] % 14 == 0


@pytest.fixture
def eva_file(tmp_path):
    """Random weights at real size under the keys of mmpretrain's classifier, without a final norm as published."""
    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='mmpretrain.ViTEVA02', arch='s', img_size=336, patch_size=14, final_norm=False, out_type='avg_featmap'
        )
    )
    generator = torch.Generator().manual_seed(5)
    state = {
        key: value if '.rope.' in key or key.startswith('rope.') else torch.randn(value.shape, generator=generator)
        for key, value in model.state_dict().items()  # the rotary angles are constants that all blocks share
    }
    path = tmp_path / 'eva02.pth'
    whole = {f'backbone.{key}': value for key, value in state.items()}
    torch.save(dict(state_dict={**whole, 'head.fc.weight': torch.zeros(1000, 384)}), path)
    return path, state


def test_eva02_small_from_a_local_file(eva_file):
    path, state = eva_file
    backbone, _ = backbone_of('weaktr-seg_eva02-s14_1xb4-100e_voc12aug-476x476', str(path))
    own = backbone.state_dict()
    fresh = {key for key in own if key not in state}
    assert fresh == {'ln1.weight', 'ln1.bias'}
    assert state.keys() - own.keys() == {'ln2.weight', 'ln2.bias'}, 'the norm of the pooled tokens has no use here'
    assert all(torch.equal(own[key], state[key]) for key in own if key not in fresh)
    assert own['pos_embed'].shape == (1, 24 * 24 + 1, 384)
    assert own['ln1.weight'].eq(1).all()
    assert backbone(torch.zeros(1, 3, 42, 56))[0].shape == (1, 384, 3, 4)
