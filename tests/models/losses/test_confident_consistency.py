import math
import sys

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.losses import ConfidentConsistencyLoss, confident_consistency

ALL = torch.ones(1, 1, 1, dtype=torch.bool)


@pytest.mark.parametrize('name', ['dupl_consistency', 'dupl_consistency_nothing'])
@pytest.mark.parametrize(('own', 'other'), [(1, 2), (2, 1)])
def test_recorded_loss_and_gradient(name, own, other, golden):
    g = golden(name)
    small = g[f'segs_{own}_aug'].requires_grad_()
    strong = F.interpolate(small.flip(-1), size=(16, 24), mode='bilinear')
    loss = confident_consistency(g[f'segs_{own}'], strong, g[f'labels_{other}'] == 255)
    loss.backward()
    torch.testing.assert_close(loss, g[f'reg_loss_{own}'], rtol=0, atol=1e-5)
    torch.testing.assert_close(small.grad, g[f'grad_aug_{own}'], rtol=0, atol=1e-6)


def test_against_loops():
    weak, strong = 3 * torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    unlabelled = torch.rand(2, 4, 5) < 0.6
    terms = []
    for b, y, x in unlabelled.nonzero().tolist():
        probability = weak[b, :, y, x].softmax(dim=0)
        if probability.max() > 0.8:
            terms.append(-strong[b, :, y, x].log_softmax(dim=0)[probability.argmax()].item())
    assert len(terms) > 5
    found = confident_consistency(weak, strong, unlabelled, confidence=0.8)
    assert found.item() == pytest.approx(sum(terms) / len(terms), abs=1e-6)


def test_a_pixel_counts_only_above_the_confidence():
    weak, strong = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    exact = weak.softmax(dim=1).max().item()
    assert exact == pytest.approx(0.75)
    assert confident_consistency(weak, strong, ALL, confidence=exact).item() == 0
    below = math.nextafter(exact, 0) - 1e-7
    assert confident_consistency(weak, strong, ALL, confidence=below).item() == pytest.approx(math.log(2))
    default = torch.tensor([math.log(9.1), 0.0]).view(1, 2, 1, 1)
    assert confident_consistency(default, strong, ALL).item() == pytest.approx(math.log(2)), 'above 0.9'
    assert confident_consistency(default - default * 0.02, strong, ALL).item() == 0, 'below 0.9'


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('pixels', ['none', 'all', 'unsure'])
def test_value_and_gradient_are_finite(pixels, dtype):
    weak = torch.zeros(1, 2, 2, 2) if pixels == 'unsure' else 20 * torch.randn(1, 2, 2, 2)
    weak, strong = weak.to(dtype).requires_grad_(), torch.randn(1, 2, 2, 2).to(dtype).requires_grad_()
    loss = confident_consistency(weak, strong, torch.full((1, 2, 2), pixels != 'none'))
    loss.backward()
    assert loss.dtype == torch.float32
    assert strong.grad.isfinite().all()
    assert weak.grad is None, 'the weak view is the teacher'
    assert (loss.item() == 0) == (strong.grad.abs().max().item() == 0) == (pixels != 'all')


def test_two_processes_have_the_loss_of_the_whole_batch(monkeypatch):
    """Each divides by the mean count; the mean over processes is then the mean over all pixels."""
    weak, strong = 9 * torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3)
    unlabelled = torch.rand(4, 3, 3) < torch.tensor([0.9, 0.8, 0.3, 0.1])[:, None, None]
    whole = confident_consistency(weak, strong, unlabelled)
    counts = [
        (unlabelled[part] & (weak[part].softmax(dim=1).amax(dim=1) > 0.9)).sum() for part in (slice(2), slice(2, 4))
    ]
    assert counts[0] > counts[1] > 0
    monkeypatch.setattr('mmseg_wsss.models.losses.reduction.get_world_size', lambda: 2)
    monkeypatch.setattr('mmseg_wsss.models.losses.reduction.all_reduce', lambda total: total.fill_(sum(counts)))
    parts = [confident_consistency(weak[part], strong[part], unlabelled[part]) for part in (slice(2), slice(2, 4))]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_module_weighs_and_has_published_defaults():
    weak, strong = 5 * torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    everywhere = torch.ones(1, 4, 4, dtype=torch.bool)
    expected = confident_consistency(weak, strong, everywhere, confidence=0.9)
    assert expected > 0
    torch.testing.assert_close(ConfidentConsistencyLoss()(weak, strong, everywhere), 0.05 * expected)
    half = ConfidentConsistencyLoss(confidence=0.5, loss_weight=2.0)(weak, strong, everywhere)
    torch.testing.assert_close(half, 2 * confident_consistency(weak, strong, everywhere, confidence=0.5))


@pytest.mark.parametrize('confidence', [-sys.float_info.min, 1])
def test_impossible_confidence_is_refused(confidence):
    with pytest.raises(ValueError, match=r'^confidence must be in \[0, 1\), got'):
        ConfidentConsistencyLoss(confidence=confidence)
    ConfidentConsistencyLoss(confidence=0)
