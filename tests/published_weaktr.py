"""Published WeakTr weights under our names."""

from torch import Tensor

_HEAD = {
    'head.': 'cam_head.classifier.',
    'adaptive_attention_fusion.attn_head_ffn.': 'cam_head.head_weights.head_ffn.',
    'adaptive_attention_fusion.attn_feat_ffn.': 'cam_head.head_weights.feature_ffn.',
}


def stage1_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of a ``WeakTr`` (its backbone still with timm's names, which it takes)."""
    renamed = {}
    for key, value in weights.items():
        if key.startswith('norm.'):
            continue  # there in the file, not used by the network
        prefix = next((old for old in _HEAD if key.startswith(old)), None)
        renamed[_HEAD[prefix] + key[len(prefix) :] if prefix else f'backbone.{key}'] = value
    return renamed
