import pytest
import torch

from mmseg_wsss.models.losses import FeatureDiscrepancyLoss, feature_discrepancy

NEAR = dict(rtol=0, atol=1e-6)


def test_recorded_loss_and_gradients(golden):
    g = golden('dupl_discrepancy')
    first, second = g['features_1'].requires_grad_(), g['features_2'].requires_grad_()
    loss = feature_discrepancy(first, second, as_published=True)
    loss.backward()
    torch.testing.assert_close(loss, g['loss'], **NEAR)
    torch.testing.assert_close(first.grad, g['grad_1'], **NEAR)
    torch.testing.assert_close(second.grad, g['grad_2'], **NEAR)


@pytest.mark.parametrize('as_published', [False, True])
def test_against_loops_with_one_student_constant_at_a_time(as_published):
    first, second = (torch.randn(2, 3, 2, 4, requires_grad=True) for _ in range(2))

    def by_hand(a, b):
        a, b = (x.flatten(2) if as_published else x.flatten(2).mT for x in (a, b))
        pairs = zip(a.flatten(0, 1), b.flatten(0, 1), strict=True)
        cosines = [u @ v / (u.norm() * v.norm()) for u, v in pairs]
        assert len(cosines) == (6 if as_published else 16)
        return 1 + sum(cosines) / len(cosines)

    expected = by_hand(first, second.detach()) + by_hand(first.detach(), second)
    gradients = torch.autograd.grad(expected, (first, second))
    loss = feature_discrepancy(first, second, as_published=as_published)
    torch.testing.assert_close(loss, expected, **NEAR)
    for found, gradient in zip(torch.autograd.grad(loss, (first, second)), gradients, strict=True):
        torch.testing.assert_close(found, gradient, **NEAR)


def test_published_fault_the_cosine_of_the_wrong_axis():
    """Maps whose tokens point in opposite directions differ as much as they can; published they are half alike."""
    first = torch.tensor([[1.0, 2.0], [0.0, 0.0]]).view(1, 2, 1, 2)
    second = torch.tensor([[-2.0, -1.0], [0.0, 0.0]]).view(1, 2, 1, 2)
    assert feature_discrepancy(first, second).item() == pytest.approx(0, abs=1e-6)
    # channel 0: (1, 2) against (-2, -1) has cosine -4/5, channel 1 is 0
    assert feature_discrepancy(first, second, as_published=True).item() == pytest.approx(2 - 4 / 5)


@pytest.mark.parametrize('as_published', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_value_and_gradient_are_finite(dtype, as_published):
    first = torch.randn(1, 4, 2, 2).to(dtype)
    first[:, :, 0, 0] = first[:, 0] = 0  # a token and a channel of zeros
    first.requires_grad_()
    loss = feature_discrepancy(first, torch.randn(1, 4, 2, 2).to(dtype), as_published=as_published)
    loss.backward()
    assert loss.dtype == torch.float32
    assert 0 <= loss.item() <= 4
    assert first.grad.isfinite().all()


def test_module_weighs_and_has_the_published_weight():
    first, second = torch.randn(2, 1, 3, 2, 2)
    torch.testing.assert_close(FeatureDiscrepancyLoss()(first, second), 0.1 * feature_discrepancy(first, second))
    published = FeatureDiscrepancyLoss(loss_weight=0.05, as_published=True)(first, second)
    torch.testing.assert_close(published, 0.05 * feature_discrepancy(first, second, as_published=True))
    assert feature_discrepancy(first, first).item() == pytest.approx(4)
    assert feature_discrepancy(first, -first).item() == pytest.approx(0, abs=1e-6)
