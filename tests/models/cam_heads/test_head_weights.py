"""Weights of attention heads: the recording of the published module, and the ways it is compared with."""

import pytest
import torch
from published import published_weights

from mmseg_wsss.models.backbones import SelfAttention
from mmseg_wsss.models.cam import attention_map
from mmseg_wsss.models.cam_heads import EqualWeights, FixedQueryWeights, MapPooledWeights, OutputPooledWeights

K, H, D = 2, 3, 4
SIZES = dict(num_blocks=K, num_heads=H)


def attention(batch: int = 2, tokens: int = 5) -> SelfAttention:
    query, key = (torch.randn(batch, H, tokens, D) for _ in range(2))
    output, block = (torch.randn(batch, tokens, H * D) for _ in range(2))
    return SelfAttention(query, key, output, block)


def test_published_module(golden):
    recorded = golden('weaktr_aaf')
    module = OutputPooledWeights(num_blocks=1, num_heads=12, head_dims=16, reduction=4)
    rename = {'attn_head_ffn': 'head_ffn', 'attn_feat_ffn': 'feature_ffn'}
    module.load_state_dict(
        {rename[key.split('.')[0]] + key[13:]: value for key, value in published_weights('weaktr_aaf').items()}
    )
    output = recorded['features'].permute(0, 2, 3, 1).flatten(2)  # (B, tokens, 16 * 12), channel c of head c mod 12
    maps = recorded['attention']
    weights = module([module.record(SelfAttention(maps, maps, output, output))])
    torch.testing.assert_close(weights[:, 0], recorded['weight'].flatten(1))
    torch.testing.assert_close(weights[:, 0, :, None, None] * maps, recorded['weighted'])


@pytest.mark.parametrize('pooling', ['max', 'avg'])
@pytest.mark.parametrize('interleaved', [True, False])
def test_pooled_output_against_loops(pooling, interleaved):
    module = OutputPooledWeights(**SIZES, head_dims=D, reduction=2, pooling=pooling, interleaved=interleaved)
    seen = attention()
    pooled = module.record(seen)
    for image in range(2):
        for head in range(H):
            for dim in range(D):
                values = seen.output[image, :, dim * H + head if interleaved else head * D + dim]
                expected = values.max() if pooling == 'max' else values.sum() / len(values)
                torch.testing.assert_close(pooled[image, head, dim], expected)


def test_ffn_against_the_formula():
    """Head-major order, no bias, relu between, sigmoid after."""
    module = OutputPooledWeights(**SIZES, head_dims=D, reduction=2)
    blocks = [torch.randn(1, H, D) for _ in range(K)]
    first, last = module.head_ffn[0].weight, module.head_ffn[2].weight  # (3, 6), (6, 3)
    values = torch.stack([module.feature_ffn(blocks[k][0, h])[0] for h in range(H) for k in range(K)])
    expected = torch.sigmoid(last @ (first @ values).clamp(min=0))
    weights = module(blocks)
    for h in range(H):
        for k in range(K):
            torch.testing.assert_close(weights[0, k, h], expected[h * K + k])


def test_the_papers_pooling_carries_nothing():
    """Whatever the images show, each map's mean is 1 / n and every image gets the same weights."""
    module = MapPooledWeights(**SIZES, reduction=2)
    blocks = [attention(batch=3, tokens=7) for _ in range(K)]
    seen = [module.record(block) for block in blocks]
    torch.testing.assert_close(torch.stack(seen), torch.full((K, 3, H), 1 / 7))
    weights = module(seen)
    torch.testing.assert_close(weights, weights[:1].expand(3, -1, -1))
    other = module([module.record(attention(batch=3, tokens=7)) for _ in range(K)])
    torch.testing.assert_close(weights, other)


def test_output_pooling_distinguishes_images():
    module = OutputPooledWeights(**SIZES, head_dims=D, reduction=1)
    weights = module([module.record(attention()) for _ in range(K)])
    assert (weights[0] - weights[1]).abs().max() > 1e-3


def test_equal_weights_are_mean_over_heads_and_sum_over_blocks():
    module = EqualWeights(**SIZES)
    blocks = [attention() for _ in range(K)]
    weights = module([module.record(block) for block in blocks])
    maps = torch.stack([attention_map(block.query, block.key) for block in blocks], dim=1)  # (B, K, H, n, n)
    torch.testing.assert_close((weights[..., None, None] * maps).mean(dim=(1, 2)), maps.mean(dim=2).sum(dim=1))


def test_equal_weights_leave_learned_ones_in_the_file_aside():
    learned = OutputPooledWeights(**SIZES, head_dims=D, reduction=2)
    parent = torch.nn.Sequential(EqualWeights(**SIZES), torch.nn.Linear(1, 1))
    state = {f'0.{key}': value for key, value in learned.state_dict().items()}
    parent.load_state_dict(state | {'1.weight': torch.ones(1, 1), '1.bias': torch.ones(1)})
    with pytest.raises(RuntimeError, match=r'Unexpected key.*2\.weight'):
        parent.load_state_dict(parent.state_dict() | {'2.weight': torch.ones(1)})


@pytest.mark.parametrize('kind', [EqualWeights, FixedQueryWeights])
def test_weights_without_an_image_follow_the_batch_alone(kind):
    """Nothing of the attention is kept."""
    module = kind(**SIZES, **({} if kind is EqualWeights else dict(reduction=2)))
    recorded = [module.record(attention(batch=5)) for _ in range(K)]
    assert [tuple(each.shape) for each in recorded] == [(5, 0)] * K
    assert module(recorded).shape == (5, K, H)


def test_recorded_values_have_no_history():
    seen = SelfAttention(*(x.requires_grad_() for x in attention()[:4]))
    for module in (OutputPooledWeights(**SIZES, head_dims=D, reduction=2), MapPooledWeights(**SIZES, reduction=2)):
        assert not module.record(seen).requires_grad


def test_fixed_query_is_saved_and_the_same_for_every_image():
    module = FixedQueryWeights(**SIZES, reduction=2)
    weights = module([module.record(attention(batch=3)) for _ in range(K)])
    torch.testing.assert_close(weights, weights[:1].expand(3, -1, -1))
    again = FixedQueryWeights(**SIZES, reduction=2)
    again.load_state_dict(module.state_dict())
    torch.testing.assert_close(again([torch.empty(1, 0)]), weights[:1])


def test_nothing_seen_has_a_gradient():
    seen = attention()
    seen = SelfAttention(*(x.requires_grad_() for x in seen[:4]))
    assert not OutputPooledWeights(**SIZES, head_dims=D, reduction=2).record(seen).requires_grad
    assert not MapPooledWeights(**SIZES, reduction=2).record(seen).requires_grad


def test_hidden_layers_of_table_8():
    hidden = [OutputPooledWeights(reduction=reduction).head_ffn[0].out_features for reduction in (0.5, 1, 2, 4, 8)]
    assert hidden == [144, 72, 36, 18, 9]


def test_impossible_values_are_named():
    with pytest.raises(ValueError, match=r'reduction must be in \(0, 6\] .*got 7'):
        OutputPooledWeights(**SIZES, reduction=7)
    with pytest.raises(ValueError, match=r"pooling must be one of .*'avg', 'max'.*got 'median'"):
        OutputPooledWeights(**SIZES, reduction=2, pooling='median')
