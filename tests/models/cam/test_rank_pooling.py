import pytest
import torch

from mmseg_wsss.models.cam import rank_weighted_mean


def test_recorded_pooling_and_gradient(golden):
    recorded = golden('mct_plus_gwrp')
    maps = recorded['map'].requires_grad_()
    decay = float(recorded['decay'])
    pooled = rank_weighted_mean(maps, decay)
    pooled.backward(recorded['upstream'])
    torch.testing.assert_close(pooled, recorded['logits'], rtol=0, atol=1e-6)
    torch.testing.assert_close(maps.grad, recorded['grad'], rtol=0, atol=1e-7)
    assert round(decay, 6) == 0.996


def test_by_hand():
    maps = torch.tensor([[[[1.0, 8.0], [4.0, 2.0]]]])
    expected = (8 + 4 / 2 + 2 / 4 + 1 / 8) / (1 + 1 / 2 + 1 / 4 + 1 / 8)
    assert rank_weighted_mean(maps, 0.5).item() == pytest.approx(expected)
    assert rank_weighted_mean(maps, 0).item() == 8, 'the maximum'
    assert rank_weighted_mean(maps, 1).item() == 3.75, 'the mean'


def test_784_weights_sum_to_what_the_paper_has():
    """Of 28 x 28 patches about 239 count."""
    ramp = torch.zeros(1, 1, 28, 28)
    ramp[..., 5, 7] = 1
    assert rank_weighted_mean(ramp, 0.996).item() == pytest.approx(1 / ((1 - 0.996**784) / (1 - 0.996)), rel=1e-5)
    assert round((1 - 0.996**784) / (1 - 0.996)) == 239


def test_half_precision_and_one_patch():
    maps = torch.randn(1, 2, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    pooled = rank_weighted_mean(maps, 0.996)
    pooled.sum().backward()
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, rank_weighted_mean(maps.float(), 0.996))
    assert maps.grad.isfinite().all()
    assert rank_weighted_mean(torch.full((1, 1, 1, 1), -3.0), 0.996).item() == -3
