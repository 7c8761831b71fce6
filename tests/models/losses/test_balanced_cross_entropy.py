import math

import pytest
import torch

from mmseg_wsss.models.losses import BalancedCrossEntropyLoss, balanced_cross_entropy


@pytest.mark.parametrize(
    'name', ['toco_seg_loss', 'seco_seg_loss', 'seco_seg_loss_no_foreground', 'seco_seg_loss_nothing']
)
def test_recorded_loss_and_gradient(golden, name):
    g = golden(name)
    logits = g['logits'].requires_grad_()
    loss = balanced_cross_entropy(logits, g['labels'].long())
    loss.backward()
    torch.testing.assert_close(loss, g['loss'], rtol=0, atol=1e-6)
    torch.testing.assert_close(logits.grad, g['grad'], rtol=0, atol=1e-6)


def test_both_sides_weigh_the_same_however_many_pixels():
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, 1, 0, 3] = 2.0
    label = torch.tensor([[[0, 0, 0, 1]]])
    foreground = math.log(math.exp(2) + 2) - 2
    assert balanced_cross_entropy(logits, label).item() == pytest.approx(0.5 * (math.log(3) + foreground), abs=1e-6)


@pytest.mark.parametrize(('label', 'expected'), [(0, 0.5 * math.log(3)), (2, 0.5 * math.log(3)), (255, 0.0)])
def test_an_empty_side_contributes_nothing(label, expected):
    logits = torch.zeros(2, 3, 2, 2, requires_grad=True)
    loss = balanced_cross_entropy(logits, torch.full((2, 2, 2), label))
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(logits.grad).all()


def test_pixel_weights_scale_their_pixels():
    logits = torch.zeros(1, 2, 1, 2)
    loss = balanced_cross_entropy(logits, torch.tensor([[[0, 1]]]), weight=torch.tensor([[[3.0, 1.0]]]))
    assert loss.item() == pytest.approx(0.5 * (3 + 1) * math.log(2), abs=1e-6)


def test_one_pixel_of_a_side_is_its_mean():
    """Two background pixels of loss log 2, one foreground pixel of log(1 + e)."""
    logits = torch.tensor([[0.0, 0, 1], [0, 0, 0]]).view(1, 2, 1, 3)
    loss = balanced_cross_entropy(logits, torch.tensor([[[0, 0, 1]]]))
    assert loss.item() == pytest.approx(0.5 * (math.log(2) + math.log(1 + math.e)), abs=1e-6)


def test_the_module_passes_everything_on():
    logits, label, weight = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4)), torch.rand(2, 4, 4)
    label[0, 0] = 7
    value = balanced_cross_entropy(logits, label, weight, 7)
    assert value.item() != pytest.approx(balanced_cross_entropy(logits, label.clamp(max=2), weight).item(), rel=1e-3)
    assert BalancedCrossEntropyLoss(loss_weight=0.1)(logits, label, weight, 7).item() == pytest.approx(
        0.1 * value.item()
    )
    label[0, 0] = 255
    loss = BalancedCrossEntropyLoss()
    assert loss(logits, label).item() == pytest.approx(balanced_cross_entropy(logits, label).item())
    assert loss.loss_name == 'loss_seg'
