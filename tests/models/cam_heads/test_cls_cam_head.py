"""The classification head: max-pooled logits and their CAM."""

import pytest
import torch
from mmengine.registry import init_default_scope

from mmseg_wsss.models import ClsCAMHead


@pytest.fixture
def head() -> ClsCAMHead:
    init_default_scope('mmseg')
    return ClsCAMHead(num_classes=2, in_channels=3, init_cfg=dict(type='Constant', layer='Conv2d', val=0.5))


def test_logits_are_those_of_the_largest_features(head):
    head.init_weights()
    maps = [torch.zeros(1, 3, 2, 2), torch.tensor([[1.0, 2, 3, 4], [0, 0, 0, 8], [-1, -2, -3, -4]]).view(1, 3, 2, 2)]
    assert head(maps).tolist() == [[0.5 * (4 + 8 - 1)] * 2]
    assert head.cams(maps).tolist() == [[[[0.0, 0.0], [0.0, 4.0]]] * 2]
    head.in_index = 0
    assert not head(maps).any()


def test_cams_have_no_gradient_and_the_loss_has(head):
    maps = [torch.randn(2, 3, 4, 4, requires_grad=True)]
    assert not head.cams(maps).requires_grad
    head.loss(maps, torch.tensor([[1.0, 0], [0, 1]]))['loss_cls'].backward()
    assert head.classifier.weight.grad.abs().max() > 0
    assert maps[0].grad.abs().max() > 0
