"""``torch.compile`` of the blocks, by its real compiler."""

import copy
import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from mmseg_wsss.models import TokenViT

SMALL = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=64)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('g++') is None, reason='torch.compile needs a C++ compiler for a CPU')
def test_compiled_blocks_give_the_same_tokens_and_gradients_and_are_compiled_once():
    torch.manual_seed(0)
    plain = TokenViT(arch=SMALL, img_size=32, patch_size=8, out_indices=(1, 2))
    plain.init_weights()
    compiled = TokenViT(arch=SMALL, img_size=32, patch_size=8, out_indices=(1, 2), compile_blocks=True)
    compiled.load_state_dict(plain.state_dict())  # strict: the names are the same
    compiled = copy.deepcopy(compiled)
    torch._dynamo.reset()
    counters.clear()
    for size, batch in ((32, 2), (48, 2), (16, 5)):
        images = torch.randn(batch, 3, size, size)
        gradients = []
        for vit in (plain, compiled):
            vit.zero_grad()
            tokens = vit.tokens(images)
            (tokens.maps[0].square().mean() + tokens.cls_token.mean()).backward()
            gradients.append([tokens.maps[1], *(p.grad for p in vit.parameters() if p.grad is not None)])
        for left, right in zip(*gradients, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    assert counters['stats']['unique_graphs'] == 1, 'three blocks, three sizes'
    assert not counters['graph_break']
