import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_wsss.models.bilateral_sum import exact_bilateral_sum, grouped_bilateral_sum
from mmseg_wsss.models.cam import valid_mask
from mmseg_wsss.models.losses import DenseEnergyLoss, dense_energy

SIZE = (24, 30)
CLASSES = 5
SECO_SIZE = (24, 20)


def example(dtype=torch.float32) -> dict:
    """Three images (colour ramps with a patch, the same under noise, one grey), half of the pixels labelled."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE[0]), torch.linspace(0, 1, SIZE[1]), indexing='ij')
    ramp = torch.stack((x, y, 0.5 * x + 0.5 * y)) * 0.4
    ramp[:, 5:15, 8:20] += 0.5
    images = torch.stack((ramp, (ramp + 0.1 * torch.rand(3, *SIZE)).clamp(0, 1), torch.full_like(ramp, 0.3)))
    label = torch.randint(0, CLASSES, (3, *SIZE))
    label[:, ::2] = 255
    valid = torch.ones(3, *SIZE, dtype=torch.bool)
    valid[1, :, :7] = False
    valid[2, 20:] = False
    probability = (2 * torch.randn(3, CLASSES, *SIZE)).softmax(dim=1)
    return dict(images=images.to(dtype), probability=probability.to(dtype), label=label, valid=valid)


def by_the_formula(images, probability, label, valid, sigma_rgb=15.0, sigma_xy=50.0):
    """Value and published gradient from the whole matrix in float64."""
    batch, classes, height, width = probability.shape
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    place = torch.stack((cols, rows)).flatten(1).double() / sigma_xy
    value, gradient = 0.0, torch.zeros(probability.shape, dtype=torch.float64)
    for b in range(batch):
        f = torch.cat((place, images[b].flatten(1).double() * 255 / sigma_rgb)).T
        affinity = torch.exp(-((f[:, None] - f[None]) ** 2).sum(-1) / 2)
        weight = 1 - probability[b].double().max(dim=0).values
        weight = torch.where(label[b] == 255, 1, weight).flatten()
        inside = valid[b].flatten().double()
        for k in range(classes):
            s = probability[b, k].flatten().double() * inside
            value -= (s * weight * (affinity @ s)).sum() / batch
            gradient[b, k] = (-2 * weight * (affinity @ s) / batch * inside).view(height, width)
    return value, gradient


def value_and_gradient(data: dict, **kwargs):
    probability = data['probability'].clone().requires_grad_()
    loss = dense_energy(**dict(data, probability=probability), **kwargs)
    loss.backward()
    return loss.detach().double(), probability.grad.double()


def test_recorded_energy_of_seco(golden):
    """Exact bilateral sum, in the place of the published lattice."""
    g = golden('seco_energy')
    images = (g['image_u8'] + 0.5).permute(0, 3, 1, 2) / 255
    valid = valid_mask(g['boxes'].int().tolist(), SECO_SIZE, images.device)
    logits = g['logits'].requires_grad_()
    loss = DenseEnergyLoss(max_groups=None, loss_weight=1.0)(images, logits, g['labels'].long(), valid)
    (1e7 * loss).backward()
    assert 1e7 * loss.item() == pytest.approx(g['loss_times_1e7'].item(), rel=1e-4)
    assert (logits.grad - g['grad_times_1e7']).abs().max() <= 1e-3 * g['grad_times_1e7'].abs().max()


@pytest.mark.parametrize('sigmas', [(15.0, 50.0), (40.0, 6.0)])
@pytest.mark.parametrize(
    ('dtype', 'method', 'tolerance'),
    [
        (torch.float64, exact_bilateral_sum, 1e-10),
        (torch.float32, exact_bilateral_sum, 1e-5),
        (torch.float32, lambda f, v: exact_bilateral_sum(f, v, half=True), 1e-3),
        (torch.float32, grouped_bilateral_sum, 0.03),
    ],
)
def test_value_and_gradient_are_those_of_the_sum_over_pairs(dtype, method, tolerance, sigmas):
    data = example(dtype)
    sizes = dict(sigma_rgb=sigmas[0], sigma_xy=sigmas[1])
    value, gradient = value_and_gradient(data, bilateral_sum=method, **sizes)
    true_value, true_gradient = by_the_formula(**data, **sizes)
    assert value.item() == pytest.approx(true_value.item(), rel=tolerance)
    for found, exact in zip(gradient, true_gradient, strict=True):  # of each image
        assert (found - exact).norm() < tolerance * exact.norm()


def test_two_pixels_by_hand():
    """Same colour, one apart: A = [[1, e], [e, 1]]; the left pixel is labelled, the right one not."""
    e = math.exp(-1 / (2 * 50**2))
    probability = torch.tensor([[0.8, 0.3], [0.2, 0.7]])[None, :, None, :]  # (1, 2, 1, 2)
    data = dict(
        images=torch.full((1, 3, 1, 2), 0.5),
        probability=probability,
        label=torch.tensor([[[0, 255]]]),
        valid=torch.ones(1, 1, 2, dtype=torch.bool),
    )
    smooth = [[0.8 + 0.3 * e, 0.3 + 0.8 * e], [0.2 + 0.7 * e, 0.7 + 0.2 * e]]
    weight = [1 - 0.8, 1.0]
    by_hand = [[-2 * weight[i] * smooth[k][i] for i in range(2)] for k in range(2)]
    value, gradient = value_and_gradient(data)
    expected = -sum(probability[0, k, 0, i].item() * weight[i] * smooth[k][i] for i in range(2) for k in range(2))
    assert value.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient[0, :, 0], torch.tensor(by_hand, dtype=torch.float64), rtol=1e-5, atol=0)


def test_gradcheck_where_no_pixel_is_labelled():
    """There the weight is 1 and the published gradient is that of the value."""
    data = {key: value[:2, ..., :6, 4:12] for key, value in example(torch.float64).items()}
    data['label'] = torch.full_like(data['label'], 255)
    assert not data['valid'].all()

    def function(probability):
        return dense_energy(**dict(data, probability=probability))

    assert torch.autograd.gradcheck(function, data['probability'].clone().requires_grad_())


def test_gradient_where_weights_differ_is_that_of_frozen_surroundings():
    """gradcheck of 2 <S, pull>, with pull = weight * (A S) of the point at which the gradient is taken."""
    data = {key: value[:2, ..., :6, 4:12] for key, value in example(torch.float64).items()}
    _, gradient = value_and_gradient(data)
    pull = -by_the_formula(**data)[1]

    def frozen(probability):
        return -(probability * pull).sum()

    start = data['probability'].clone().requires_grad_()
    assert torch.autograd.gradcheck(frozen, start)
    torch.testing.assert_close(torch.autograd.grad(frozen(start), start)[0], gradient, rtol=1e-9, atol=1e-12)


def test_padding_neither_pulls_nor_is_pulled():
    data = example()
    value, gradient = value_and_gradient(data)
    assert not gradient[(~data['valid'])[:, None].expand_as(gradient)].any()
    other = dict(data, probability=torch.where(data['valid'][:, None], data['probability'], 0.1))
    torch.testing.assert_close(value_and_gradient(other)[0], value, rtol=1e-6, atol=0)


@pytest.mark.parametrize('method', [exact_bilateral_sum, grouped_bilateral_sum])
def test_an_image_of_padding_alone_is_zero(method):
    data = dict(example(), valid=torch.zeros(3, *SIZE, dtype=torch.bool))
    value, gradient = value_and_gradient(data, bilateral_sum=method)
    assert value.item() == 0
    assert not gradient.any()


def test_descent_smooths_within_a_colour_and_not_across():
    """Two halves of different colour, a few wrong pixels in each: the energy alone puts them right."""
    images = torch.zeros(1, 3, 16, 16)
    images[..., 8:] = 1.0
    ground_truth = torch.zeros(1, 16, 16, dtype=torch.long)
    ground_truth[..., 8:] = 1
    wrong = torch.rand(1, 16, 16) < 0.2
    logits = 2 * F.one_hot(ground_truth ^ wrong.long(), 2).permute(0, 3, 1, 2).float()
    label, valid = torch.full_like(ground_truth, 255), torch.ones_like(ground_truth, dtype=torch.bool)
    loss = DenseEnergyLoss(scale_factor=1, weight=1e-2, loss_weight=1.0)
    logits.requires_grad_()
    for _ in range(30):
        (gradient,) = torch.autograd.grad(loss(images, logits, label, valid), logits)
        logits.data -= gradient
    assert wrong.sum() > 20
    assert (logits.argmax(dim=1) == ground_truth).all()


def module_inputs() -> dict:
    """Images of (48, 60) with logits of (6, 8)."""
    data = example()
    return dict(
        images=torch.rand(3, 3, 48, 60),
        logits=torch.randn(3, CLASSES, 6, 8),
        label=data['label'].repeat_interleave(2, 1).repeat_interleave(2, 2),
        valid=data['valid'].repeat_interleave(2, 1).repeat_interleave(2, 2),
    )


def test_the_module_works_at_half_size_with_half_the_reach():
    inputs = module_inputs()
    full = F.interpolate(inputs['logits'], size=(48, 60), mode='bilinear', align_corners=False).softmax(dim=1)
    expected, _ = by_the_formula(
        inputs['images'][:, :, ::2, ::2],
        F.avg_pool2d(full, 2),
        inputs['label'][:, ::2, ::2],
        inputs['valid'][:, ::2, ::2],
        sigma_rgb=20.0,
        sigma_xy=15.0,
    )
    init_default_scope('mmseg')
    loss = MODELS.build(dict(type='DenseEnergyLoss', sigma_rgb=20, sigma_xy=30, max_groups=None, weight=1e-3))
    assert loss(**inputs).item() == pytest.approx(0.05 * 1e-3 * expected.item(), rel=1e-4)
    assert DenseEnergyLoss(sigma_rgb=20, sigma_xy=30, weight=1e-3)(**inputs).item() == pytest.approx(
        loss(**inputs).item(), rel=0.02
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_and_low_precision_logits(dtype):
    """Under autocast everything is float32 from the logits on."""
    inputs = module_inputs()
    low = inputs['logits'].to(dtype).requires_grad_()
    loss = DenseEnergyLoss(weight=1.0, loss_weight=1.0)
    with torch.autocast('cpu', dtype=dtype):
        value = loss(**dict(inputs, logits=low))
    value.backward()
    full = low.detach().float().requires_grad_()
    plain = loss(**dict(inputs, logits=full))
    plain.backward()
    assert value.dtype == torch.float32
    assert value.item() == plain.item()
    torch.testing.assert_close(low.grad, full.grad.to(dtype))


@pytest.mark.parametrize('size', [(1, 1), (1, 8), (6, 1)])
@pytest.mark.parametrize('max_groups', [None, 2048])
def test_a_side_of_one_pixel_stays_one_pixel(size, max_groups):
    """Half of it would be none; the other side is halved."""
    small = tuple(max(1, side // 2) for side in size)
    down, right = (2 if side > 1 else 1 for side in size)
    images, label = torch.rand(2, 3, *size), torch.tensor([255, 1])[:, None, None].expand(2, *size)
    valid, logits = torch.ones(2, *size, dtype=torch.bool), torch.randn(2, CLASSES, *size, requires_grad=True)
    probability = F.adaptive_avg_pool2d(logits.softmax(dim=1), small)
    shown = [one[..., ::down, ::right] for one in (images, label, valid)]
    expected, pull = by_the_formula(shown[0], probability.detach(), *shown[1:], sigma_xy=50.0)
    (expected_gradient,) = torch.autograd.grad(probability, logits, pull.float())
    value = DenseEnergyLoss(weight=1.0, loss_weight=1.0, max_groups=max_groups)(images, logits, label, valid)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == pytest.approx(expected.item(), rel=1e-3)
    assert expected.item() < -0.1
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-2, atol=1e-4)


def test_the_defaults_are_the_published_constants():
    inputs = module_inputs()
    full = F.interpolate(inputs['logits'], size=(48, 60), mode='bilinear', align_corners=False).softmax(dim=1)
    half = [inputs[key][..., ::2, ::2] for key in ('images', 'label', 'valid')]
    expected, _ = by_the_formula(half[0], F.avg_pool2d(full, 2), *half[1:], sigma_rgb=15.0, sigma_xy=100.0 / 2)
    assert DenseEnergyLoss(max_groups=None)(**inputs).item() == pytest.approx(0.05 * 1e-7 * expected.item(), rel=1e-5)
    assert DenseEnergyLoss().on_cpu.keywords == {'max_groups': 2048}
    data = example(torch.float64)
    assert dense_energy(**data).item() == pytest.approx(by_the_formula(**data)[0].item(), rel=1e-10)
