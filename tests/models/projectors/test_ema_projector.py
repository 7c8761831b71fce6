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


def test_without_a_last_layer_projections_are_unit_vectors():
    head = EMAProjector(in_channels=6, hidden_channels=5, bottleneck_channels=4, out_channels=None)
    head.init_weights()
    head.update()
    assert [name for name, _ in head.student.named_children()] == ['mlp']
    tokens = torch.randn(3, 2, 6)
    torch.testing.assert_close(head(tokens), F.normalize(head.student.mlp(tokens), dim=-1))
    torch.testing.assert_close(head.project_global(tokens), head(tokens))


def test_weights_start_as_published():
    """Truncated normal of 0.02 (DINO's head), biases 0, three widths of DINO."""
    head = EMAProjector(in_channels=64)
    head.init_weights()
    shapes = [tuple(parameter.shape) for parameter in head.student.parameters()]
    assert shapes == [(2048, 64), (2048,), (2048, 2048), (2048,), (256, 2048), (256,), (1024, 256)]
    for parameter in head.student.parameters():
        if parameter.dim() == 1:
            assert not parameter.any()
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.02)
            assert parameter.mean().abs() < 1e-3
    assert head.teacher.momentum == pytest.approx(0.1)


def test_a_short_token_is_not_divided_by_its_length():
    """Below 1e-6 the direction shrinks with the token instead of being scaled up to 1."""
    head = ProjectionHead(in_channels=2, hidden_channels=2, bottleneck_channels=2, out_channels=1)
    head.mlp = torch.nn.Identity()
    with torch.no_grad():
        head.last_layer.weight.copy_(torch.tensor([[3.0, 0.0]]))
    values = [head(torch.tensor([length, 0.0])).item() for length in (1.0, 1e-6, 5e-7)]
    assert values == pytest.approx([1.0, 1.0, 0.5])


def test_teacher_is_saved():
    head, other = projector(), projector()
    head.update()
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other.teacher.module.last_layer.weight, head.teacher.module.last_layer.weight)
    assert other.teacher.steps == 1


def test_momentum_out_of_range():
    for momentum in (1.0, -0.1):
        with pytest.raises(ValueError, match=rf'momentum \(rho\) must be in \[0, 1\), got {momentum}'):
            projector(momentum=momentum)
