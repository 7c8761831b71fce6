"""What FSDP wraps: every block of a ViT and nothing else."""

from mmengine.registry import FUNCTIONS
from torch import nn

from mmseg_wsss.models import TokenViT


def test_every_block_is_wrapped_and_nothing_else():
    arch = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
    model = nn.ModuleDict(dict(backbone=TokenViT(arch=arch, img_size=16, patch_size=8), head=nn.Conv2d(16, 3, 1)))
    policy = FUNCTIONS.get('wrap_transformer_blocks')
    wrapped = [each for each in model.modules() if policy(module=each, recurse=False, nonwrapped_numel=0)]
    assert wrapped == [*model['backbone'].layers]
    assert policy(module=model, recurse=True, nonwrapped_numel=0), 'its children are looked at'
