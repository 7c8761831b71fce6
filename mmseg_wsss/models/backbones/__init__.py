"""Backbones that hand out tokens."""

from .token_vit import SelfAttention, Tokens, TokenViT
from .vit_checkpoint import load_vit_checkpoint, read_clip_projection, read_vit_state_dict, to_mmpretrain_names

__all__ = [
    'SelfAttention',
    'TokenViT',
    'Tokens',
    'load_vit_checkpoint',
    'read_clip_projection',
    'read_vit_state_dict',
    'to_mmpretrain_names',
]
