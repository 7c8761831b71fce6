import math
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.losses import PrototypeContrastLoss, prototype_contrast


@pytest.mark.parametrize('name', ['seco_lig', 'seco_lig_one_class', 'seco_lig_no_foreground'])
def test_recorded_loss_and_gradient(golden, name):
    g = golden(name)
    features = g['features'].requires_grad_()
    loss = prototype_contrast(features, g['flags'][:, 0].long(), g['prototypes'], temperature=0.1)
    loss.backward()
    torch.testing.assert_close(loss, g['loss'][0], rtol=0, atol=1e-4)
    assert (features.grad - g['grad']).abs().max() <= 1e-3 * g['grad'].abs().max()


PROTOTYPES = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])


def test_by_hand():
    """Classes 1 and 2 occur; the third prototype, background and what has no tag take no part."""
    features = torch.tensor([[1.0, 0], [0.6, 0.8], [-1, 0], [-1, 0]])
    tags = torch.tensor([1, 2, 0, -1])
    first = math.log(1 + math.exp(-1 / 0.5))
    second = math.log(1 + math.exp((0.6 - 0.8) / 0.5))
    loss = prototype_contrast(features, tags, PROTOTYPES, temperature=0.5)
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-6)
    module = PrototypeContrastLoss(temperature=0.5, loss_weight=3.0)
    assert module(features, tags, PROTOTYPES).item() == pytest.approx(3 * (first + second) / 2, abs=1e-5)


def test_defaults():
    module = PrototypeContrastLoss()
    assert (module.temperature, module.loss_weight) == (0.1, 0.5)
    features, tags = F.normalize(torch.randn(4, 2), dim=1), torch.tensor([1, 2, 3, 1])
    by_hand = F.cross_entropy(features @ PROTOTYPES.T / 0.1, tags - 1)
    assert module(features, tags, PROTOTYPES).item() == pytest.approx(0.5 * by_hand.item(), rel=1e-5)
    torch.testing.assert_close(prototype_contrast(features, tags, PROTOTYPES), by_hand)
    with pytest.raises(ValueError, match='temperature must be positive, got -1'):
        PrototypeContrastLoss(temperature=-1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('tags', [[0, -1], [0, 0], [-1], [3, 3], [2]])
def test_zero_without_two_classes(tags, dtype):
    features = F.normalize(torch.randn(len(tags), 2), dim=1).to(dtype).requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = prototype_contrast(features, torch.tensor(tags), PROTOTYPES)
    loss.backward()
    assert loss.item() == 0
    assert not features.grad.any()


def test_several_processes_give_the_loss_of_the_whole_batch(monkeypatch):
    """The first process has class 1 alone, and one anchor of three."""
    features = F.normalize(torch.randn(5, 2), dim=1)
    tags = torch.tensor([1, 0, 2, 3, -1])
    whole = prototype_contrast(features, tags, PROTOTYPES)
    reduction, own = (import_module(f'mmseg_wsss.models.losses.{name}') for name in ('reduction', 'prototype_contrast'))
    for module in (reduction, own):
        monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    monkeypatch.setattr(reduction, 'all_reduce', lambda count: count.fill_(3))
    monkeypatch.setattr(own, 'all_reduce', lambda occurs, how: occurs.fill_({'max': 1}[how]))
    mean = sum(prototype_contrast(features[part], tags[part], PROTOTYPES) for part in (slice(2), slice(2, 5))) / 2
    torch.testing.assert_close(mean, whole)
