"""What a method gets that builds on ``SingleStage`` and says little."""

import pytest
import torch
from third_method import MODEL
from tiny_toco import SIZE, build_toco

from mmseg_wsss.models import SingleStage

PARTS = {name: part for name, part in MODEL.items() if name not in ('type', 'loss_agree', 'starts')}
ENERGY = {'type': 'DenseEnergyLoss', 'weight': 1e-3}


def test_a_loss_without_a_start_begins_at_once():
    model = SingleStage(**PARTS)
    assert model.starts == {}
    assert model.begun() == {'loss_seg'}
    assert model.not_begun() == {}


def test_starts_of_some_losses_alone():
    model = SingleStage(**PARTS, loss_reg=ENERGY)
    model.set_starts({'loss_reg': 2}, ('loss_reg',))
    assert [model.has_begun(name) for name in ('loss_seg', 'loss_reg')] == [True, False]
    model.iteration = 2
    assert model.has_begun('loss_reg')
    with pytest.raises(ValueError, match='loss_reg needs the logits of loss_seg: it cannot begin before it'):
        model.set_starts({'loss_seg': 2}, ('loss_seg',))


def test_tag_scores_are_the_classifiers_probabilities():
    model, images = build_toco().eval(), torch.randn(2, 3, SIZE, SIZE)
    features = model.backbone(images)[1].amax(dim=(-2, -1))  # (B, D)
    logits = features @ model.cam_head.classifier.weight.flatten(1).T
    found = model.tag_scores(images)
    torch.testing.assert_close(found, 1 / (1 + torch.exp(-logits)))
    assert not found.requires_grad
