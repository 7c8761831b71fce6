"""mmseg's SegmenterMaskTransformerHead is the published decoder of WeakTr's second stage."""

import re

import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from published import published_weights
from torch import Tensor

RULES = (
    (r'^blocks\.', 'layers.'),
    (r'\.norm([12])\.', r'.ln\1.'),
    (r'\.attn\.qkv\.weight$', '.attn.attn.in_proj_weight'),
    (r'\.attn\.qkv\.bias$', '.attn.attn.in_proj_bias'),
    (r'\.attn\.proj\.', '.attn.attn.out_proj.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
    (r'^proj_dec\.', 'dec_proj.'),
)


def to_mmseg(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published names to mmseg's; the two plain matrices become linear layers, whose weight is the transpose."""
    state = {}
    for key, value in weights.items():
        if key in ('proj_patch', 'proj_classes'):
            name = key.removeprefix('proj_')
            state[f'{ {"patch": "patch_proj", "classes": "classes_proj"}[name] }.weight'] = value.T
            continue
        for pattern, replacement in RULES:
            key = re.sub(pattern, replacement, key)
        state[key] = value
    return state


def test_recorded_masks_of_the_published_decoder(golden):
    g = golden('weaktr_mask_transformer')
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = MODELS.build(
            dict(
                type='SegmenterMaskTransformerHead',
                in_channels=48,
                channels=48,
                embed_dims=48,
                num_heads=3,
                num_layers=2,
                num_classes=5,
                dropout_ratio=0.0,
                in_index=0,
            )
        )
    head.load_state_dict(to_mmseg(published_weights('weaktr_mask_transformer')))
    maps = g['tokens'].transpose(1, 2).unflatten(2, (4, 6))
    with torch.no_grad():
        masks = head.eval()([maps])
    torch.testing.assert_close(masks, g['masks'], rtol=1e-3, atol=1e-4)
