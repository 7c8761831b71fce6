"""Published weights of WeakTr's two stages, converted and back (recorded outputs of stage 1: test_weaktr_golden.py)."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from published import encoder_weights, published_weights

from mmseg_wsss.checkpoints import WEAKTR_CAM, WEAKTR_SEG

SMALL = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)
HEAD = dict(
    type='SegmenterMaskTransformerHead',
    in_channels=48,
    channels=48,
    embed_dims=48,
    num_heads=3,
    num_layers=2,
    num_classes=5,
    dropout_ratio=0.0,
    in_index=0,
    loss_decode=dict(type='GradientClippedCrossEntropy', start_value=1.2, patch_size=16),
)


def stage2_weights():
    """The layout of the published Segmenter; encoder and decoder are those of two recordings."""
    encoder = encoder_weights(published_weights('toco_small'))
    encoder |= {'head.weight': torch.randn(1000, 48), 'head.bias': torch.randn(1000)}
    decoder = published_weights('weaktr_mask_transformer')
    return {f'encoder.{key}': value for key, value in encoder.items()} | {
        f'decoder.{key}': value for key, value in decoder.items()
    }


@pytest.mark.parametrize('segmentor', ['OnlineRetraining', 'EncoderDecoder'])
def test_second_stage_gives_the_recorded_outputs(segmentor, golden):
    init_default_scope('mmseg')
    backbone = dict(type='TokenViT', arch=SMALL, img_size=64)
    config = dict(type=segmentor, backbone=backbone, decode_head=HEAD, test_cfg=dict(mode='whole'))
    model = MODELS.build(ConfigDict(config)).eval()
    model.load_state_dict(WEAKTR_SEG.to_ours(stage2_weights()))
    encoder, decoder = golden('toco_small'), golden('weaktr_mask_transformer')
    with torch.no_grad():
        token = model.backbone.tokens(encoder['x']).cls_token[:, 0]
        masks = model.decode_head([decoder['tokens'].transpose(1, 2).unflatten(2, (4, 6))])
    torch.testing.assert_close(token, encoder['cls_token'], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(masks, decoder['masks'], rtol=1e-3, atol=1e-4)


def test_second_stage_and_back():
    state = stage2_weights()
    for index in range(4):  # DINOv2's encoder
        state[f'encoder.blocks.{index}.ls1.gamma'] = torch.randn(48)
        state[f'encoder.blocks.{index}.ls2.gamma'] = torch.randn(48)
    ours = WEAKTR_SEG.to_ours(state)
    assert torch.equal(ours['decode_head.patch_proj.weight'], state['decoder.proj_patch'].T)
    assert torch.equal(ours['backbone.layers.3.ffn.gamma2.weight'], state['encoder.blocks.3.ls2.gamma'])
    back = WEAKTR_SEG.to_theirs(ours)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state if not key.startswith('encoder.head.'))


@pytest.mark.parametrize('name', ['weaktr_small', 'weaktr_deit_s'])
def test_first_stage_and_back(name):
    state = published_weights(name)
    back = WEAKTR_CAM.to_theirs(WEAKTR_CAM.to_ours(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state if not key.startswith('norm.'))
    assert torch.equal(back['norm.weight'], torch.ones_like(state['norm.weight'])), 'in the file, not in the network'


def test_wrong_layout_and_missing_keys_are_named():
    state = published_weights('weaktr_small')
    with pytest.raises(ValueError, match=r"WeakTr's second stage under their names:\n  \d+ missing: encoder\."):
        WEAKTR_SEG.to_ours(state)
    del state['blocks.1.attn.proj.bias']
    with pytest.raises(ValueError, match=r'1 missing: blocks.1.attn.proj.bias$'):
        WEAKTR_CAM.to_ours(state)
