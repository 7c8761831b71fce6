import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.losses import MixtureNoiseFilter, fit_mixture, mixture_noise


def losses_of(g):
    """Labels, per-pixel losses and foreground of a recording."""
    label = g['labels'].long()
    loss = F.cross_entropy(g['logits'], label, ignore_index=255, reduction='none')
    torch.testing.assert_close(loss, g['loss'], rtol=0, atol=1e-6)
    return label, loss, (label != 0) & (label != 255)


@pytest.mark.parametrize('name', ['', '_one_mode', '_few', '_wide'])
def test_recorded_labels(name, golden):
    """scikit-learn starts its two means at random; ours agrees in every pixel of the recordings."""
    g = golden(f'dupl_noise_filter{name}')
    label, loss, foreground = losses_of(g)
    noise = mixture_noise(loss, foreground, as_published=True)
    assert torch.equal(torch.where(noise, 255, label), g['filtered'].long())
    assert noise.any() == (name in ('', '_wide'))


@pytest.mark.parametrize('name', ['', '_wide'])
def test_recorded_mixtures(name, golden):
    g = golden(f'dupl_noise_filter{name}')
    _, loss, foreground = losses_of(g)
    fits = g['fits_n_means_weights_variances']
    fitted = (foreground & (loss > 0.1)).flatten(1)
    assert fitted.sum(dim=1).tolist() == fits[:, 0].tolist()
    found = fit_mixture(loss.flatten(1), fitted)
    for field, columns in ((found.mean, fits[:, 1:3]), (found.share, fits[:, 3:5]), (found.variance, fits[:, 5:])):
        torch.testing.assert_close(field, columns, rtol=1e-3, atol=1e-4)


def test_published_fault_a_wide_component_claims_pixels_that_nothing_was_fitted_to(golden):
    label, loss, foreground = losses_of(golden('dupl_noise_filter_wide'))
    published = mixture_noise(loss, foreground, as_published=True)
    assert (published & (loss < 0.1)).sum() > 100, 'the fault'
    noise = mixture_noise(loss, foreground)
    lower = fit_mixture(loss.flatten(1), (foreground & (loss > 0.1)).flatten(1)).mean.min()
    assert lower.item() == pytest.approx(0.99972, abs=1e-4)
    assert torch.equal(noise, published & (loss > lower)), 'nothing below the mean of the lower component'
    assert not (noise & (label == 0)).any()


@pytest.mark.parametrize('shape', ['two modes', 'a long tail'])
def test_mixture_against_loops(shape):
    """Expectation maximisation in plain Python, to the same stop; a long tail needs all steps of the two means."""
    generator = torch.Generator().manual_seed(4)
    values = torch.cat((torch.randn(60, generator=generator) * 0.3 + 1, torch.randn(40, generator=generator) + 4))
    if shape == 'a long tail':
        values = (2 * torch.randn(100, generator=generator)).exp()
    data = values.double().tolist()
    low, high = min(data), max(data)
    for _ in range(10):
        middle = (low + high) / 2
        lower, upper = [v for v in data if v <= middle], [v for v in data if v > middle]
        low, high = sum(lower) / len(lower), sum(upper) / len(upper)
    weights = [[float(v <= middle), float(v > middle)] for v in data]

    def moments():
        out = []
        for k in range(2):
            count = sum(w[k] for w in weights)
            mean = sum(w[k] * v for w, v in zip(weights, data, strict=True)) / count
            spread = sum(w[k] * (v - mean) ** 2 for w, v in zip(weights, data, strict=True)) / count
            out.append((count / len(data), mean, spread + 5e-4))
        return out

    fit, before, steps = moments(), -math.inf, 0
    for _ in range(10):
        steps += 1
        densities = [[s * math.exp(-((v - m) ** 2) / 2 / q) / math.sqrt(q) for s, m, q in fit] for v in data]
        weights = [[d / sum(pair) for d in pair] for pair in densities]
        fit = moments()
        likelihood = sum(math.log(sum(pair)) for pair in densities) / len(data)
        if abs(likelihood - before) < 1e-2:
            break
        before = likelihood
    assert 2 <= steps < 10
    found = fit_mixture(values[None], torch.ones(1, 100, dtype=torch.bool))
    expected = torch.tensor(fit)
    for field, column in zip(found, expected.T, strict=True):
        torch.testing.assert_close(field[0], column, rtol=1e-4, atol=1e-5)


def two_modes(count=600, low=0.5, high=3.0, spread=0.05):
    """One image with ``count`` pixels around either loss, and as many background pixels of the higher loss."""
    generator = torch.Generator().manual_seed(1)
    drawn = spread * torch.randn(3, count, generator=generator)
    loss = torch.stack((drawn[0] + low, drawn[1] + high, drawn[2] + high))[None]
    foreground = torch.ones(1, 3, count, dtype=torch.bool)
    foreground[:, 2] = False
    return loss, foreground


def test_noise_is_the_foreground_of_the_higher_component():
    loss, foreground = two_modes()
    assert mixture_noise(loss, foreground)[0].sum(dim=1).tolist() == [0, 600, 0]
    swapped = mixture_noise(loss.flip(1), foreground.flip(1))
    assert swapped[0].sum(dim=1).tolist() == [0, 600, 0], 'whatever comes first'


def test_count_and_gap_must_be_exceeded():
    loss, foreground = two_modes()
    assert mixture_noise(loss, foreground, min_count=1199).any()
    assert not mixture_noise(loss, foreground, min_count=1200).any(), '1200 pixels are fitted'
    few, few_foreground = two_modes(count=500)
    assert not mixture_noise(few, few_foreground).any(), '1000 by default'
    more, more_foreground = two_modes(count=501)
    assert mixture_noise(more, more_foreground).any()
    for gap, noisy in ((1.05, True), (0.95, False)):
        assert mixture_noise(*two_modes(high=0.5 + gap)).any() == noisy, 'a gap of 1 by default'
    means = fit_mixture(loss.flatten(1), foreground.flatten(1)).mean
    exact = (means.amax() - means.amin()).item()
    assert not mixture_noise(loss, foreground, min_gap=exact).any()
    assert mixture_noise(loss, foreground, min_gap=math.nextafter(exact, 0) - 1e-6).any()


@pytest.mark.parametrize('function', [mixture_noise, lambda *given: MixtureNoiseFilter()(*given)])
def test_default_limits_to_the_pixel(function):
    """1,001 pixels above 0.1 are enough, 1,000 are not."""
    loss, foreground = two_modes(count=501)
    foreground[0, 0, 0] = False
    assert function(loss, foreground).any()
    loss[0, 0, 1] = 0.105
    assert function(loss, foreground).any()
    loss[0, 0, 1] = 0.0999
    assert not function(loss, foreground).any()


def test_a_loss_of_exactly_the_limit_is_not_fitted():
    loss, foreground = two_modes()
    loss[0, 0, 0], loss[0, 0, 1:] = 0.25, loss[0, 0, 1:].clamp(min=0.3)
    assert mixture_noise(loss, foreground, min_loss=0.25, min_count=1198).any()
    assert not mixture_noise(loss, foreground, min_loss=0.25, min_count=1199).any()


def test_small_losses_are_not_fitted_and_confidence_decides():
    loss, foreground = two_modes(low=0.5)
    assert mixture_noise(loss, foreground).sum() == 600
    assert not mixture_noise(loss, foreground, min_loss=1.0).any(), 'half of the pixels: too few'
    tiny, tiny_foreground = two_modes(low=0.02, spread=0.01)
    assert not mixture_noise(tiny, tiny_foreground).any(), 'below 0.1: not fitted'
    wide, wide_foreground = two_modes(high=3, spread=0.7)
    counts = [mixture_noise(wide, wide_foreground, confidence=value).sum().item() for value in (0.5, 0.95, 0.9999)]
    assert counts[0] > counts[1] > counts[2] > 0
    assert mixture_noise(wide, wide_foreground).sum().item() == counts[1]
    assert not mixture_noise(wide, wide_foreground, confidence=1).any()


def test_images_are_independent_and_an_unfitted_one_stays_as_it_is():
    loss, foreground = two_modes()
    batch = torch.cat((loss, torch.zeros_like(loss), loss + 1, loss))
    masks = torch.cat((foreground, foreground, torch.zeros_like(foreground), foreground.roll(1, dims=1)))
    noise = mixture_noise(batch, masks)
    assert noise.flatten(1).sum(dim=1).tolist()[:3] == [600, 0, 0]
    for index in range(4):
        alone = mixture_noise(batch[index : index + 1], masks[index : index + 1])
        assert torch.equal(alone[0], noise[index])
    for field in fit_mixture(batch.flatten(1), masks.flatten(1) & (batch.flatten(1) > 0.1)):
        assert field.isfinite().all(), 'also where nothing is fitted'


def test_equal_losses_have_a_finite_mixture_and_no_noise():
    loss = torch.full((1, 40, 40), 2.0)
    foreground = torch.ones_like(loss, dtype=torch.bool)
    assert not mixture_noise(loss, foreground).any()
    fit = fit_mixture(loss.flatten(1), foreground.flatten(1))
    assert fit.mean.tolist() == [[2, 2]], 'an empty component would have the mean 0, far from the other'
    assert all(field.isfinite().all() for field in fit)


def test_module_has_published_defaults():
    loss, foreground = two_modes()
    wide = two_modes(high=3, spread=0.7)
    for given in ((loss, foreground), wide):
        explicit = mixture_noise(*given, min_loss=0.1, min_count=1000, min_gap=1.0, confidence=0.95)
        assert torch.equal(MixtureNoiseFilter()(*given), explicit)
    assert not MixtureNoiseFilter(min_count=1200)(loss, foreground).any()
    assert not MixtureNoiseFilter(min_gap=3.0)(loss, foreground).any()
    assert not MixtureNoiseFilter(min_loss=1.0)(loss, foreground).any()
    assert not MixtureNoiseFilter(confidence=1.0)(loss, foreground).any()


def test_published_module(golden):
    _, loss, foreground = losses_of(golden('dupl_noise_filter_wide'))
    published = mixture_noise(loss, foreground, as_published=True)
    assert torch.equal(MixtureNoiseFilter(as_published=True)(loss, foreground), published)
    assert not torch.equal(MixtureNoiseFilter()(loss, foreground), published)
