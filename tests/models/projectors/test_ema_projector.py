import pytest
import torch
import torch.nn.functional as F
from published import published_weights

from mmseg_wsss.models import EMAProjector
from mmseg_wsss.models.projectors import ProjectionHead


def test_recorded_projection(golden):
    g, weights = golden('toco_projector'), published_weights('toco_projector')
    gain = weights.pop('last_layer.weight_g')[:, 0]  # drawn in the recording, fixed at 1 in training and here
    weights['last_layer.weight'] = weights.pop('last_layer.weight_v')
    head = ProjectionHead(in_channels=24, hidden_channels=32, bottleneck_channels=12, out_channels=20)
    head.load_state_dict(weights)
    torch.testing.assert_close(head(g['x']) * gain, g['y'], rtol=1e-3, atol=1e-6)


def projector(**kwargs):
    widths = dict(in_channels=6, hidden_channels=5, bottleneck_channels=4, out_channels=7)
    built = EMAProjector(**widths, **kwargs)
    built.init_weights()
    return built


@pytest.mark.parametrize('rho', [0.9, 0.1, 0.0])
def test_teacher_starts_as_copy_and_follows(rho):
    head = projector(momentum=rho)
    head.update()
    start = head.student.mlp[0].weight.detach().clone()
    torch.testing.assert_close(head.teacher.module.mlp[0].weight, start)
    with torch.no_grad():
        head.student.mlp[0].weight.add_(1.0)
    head.update()
    torch.testing.assert_close(head.teacher.module.mlp[0].weight, start + (1 - rho), rtol=0, atol=1e-5)
    head.update()
    torch.testing.assert_close(head.teacher.module.mlp[0].weight, start + (1 - rho**2), rtol=0, atol=1e-5)


def test_teacher_gets_no_gradient_and_projections_are_cosines():
    head = projector()
    head.update()
    tokens = torch.randn(3, 2, 6, requires_grad=True)
    (head(tokens).sum() + head.project_global(tokens).sum()).backward()
    assert all(p.grad is None for p in head.teacher.parameters())
    assert all(p.grad is not None for p in head.student.parameters())
    direction = F.normalize(head.student.mlp(tokens), dim=-1)
    by_hand = F.cosine_similarity(direction[:, :, None], head.student.last_layer.weight[None, None], dim=-1)
    torch.testing.assert_close(head(tokens), by_hand)


def test_teacher_is_saved():
    head, other = projector(), projector()
    head.update()
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other.teacher.module.last_layer.weight, head.teacher.module.last_layer.weight)
    assert other.teacher.steps == 1


def test_momentum_out_of_range():
    with pytest.raises(ValueError, match=r'momentum \(rho\) must be in \[0, 1\), got 1.0'):
        projector(momentum=1.0)
