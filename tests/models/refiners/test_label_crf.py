"""LabelCRF: a direct pydensecrf call, one pixel by hand, and what counts as a class."""

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')

SILENT = {'gaussian': {'compat': 0}, 'bilateral': {'compat': 0}}


def build(**kwargs):
    return MODELS.build(dict(type='LabelCRF', **kwargs))


def scene(classes=3):
    """A noisy image of two colour regions and scores that favour class 0 left and class 1 right."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 3, 14, 17)
    image[:, 0, :, :8], image[:, 1, :, 8:] = 0.9, 0.8
    scores = torch.rand(1, classes, 14, 17, generator=generator) + 0.3
    scores[:, 0, :, :8] += 0.4
    scores[:, 1, :, 8:] += 0.4
    noise = 0.05 * torch.randn(image.shape, generator=generator)
    return (image + noise).clamp(0, 1), scores


@pytest.mark.parametrize(
    ('kwargs', 'gaussian', 'bilateral'),
    [
        ({}, {'sxy': 4, 'compat': 3}, {'sxy': 83, 'srgb': 5, 'compat': 3}),
        (
            {'gaussian': {'sxy': 3}, 'bilateral': {'sxy': 50, 'compat': 10}},
            {'sxy': 3, 'compat': 3},
            {'sxy': 50, 'srgb': 5, 'compat': 10},
        ),
    ],
)
def test_direct_call(kwargs, gaussian, bilateral):
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_labels

    images, scores = scene()
    crf = DenseCRF2D(17, 14, 3)
    crf.setUnaryEnergy(unary_from_labels(scores[0].argmax(0).numpy(), 3, 0.7, zero_unsure=False))
    pixels = np.ascontiguousarray((images[0] * 255).round().byte().permute(1, 2, 0).numpy())
    crf.addPairwiseGaussian(**gaussian)
    crf.addPairwiseBilateral(rgbim=pixels, **bilateral)
    expected = np.reshape(crf.inference(10), (3, 14, 17))
    np.testing.assert_allclose(build(**kwargs)(images, scores)[0].numpy(), expected, atol=1e-6)
    assert (expected.argmax(0) != scores[0].argmax(0).numpy()).mean() > 0.05, 'it changes something'


def test_without_neighbours_a_label_has_gt_prob_and_the_others_share_the_rest():
    images, scores = scene(classes=4)
    refined = build(gt_prob=0.85, **SILENT)(images, scores)[0]
    label = torch.nn.functional.one_hot(scores[0].argmax(0), 4).permute(2, 0, 1)
    torch.testing.assert_close(refined, torch.where(label > 0, 0.85, 0.05))


def test_only_the_labels_count():
    images, scores = scene()
    sure = torch.nn.functional.one_hot(scores.argmax(1), 3).permute(0, 3, 1, 2) + 1e-3
    torch.testing.assert_close(build()(images, scores), build()(images, sure))


def test_classes_without_scores_are_left_out():
    images, scores = scene(classes=2)
    padded = torch.zeros(1, 5, 14, 17)
    padded[:, [1, 3]] = scores
    refined = build()(images, padded)
    assert refined[:, [0, 2, 4]].abs().max() == 0
    torch.testing.assert_close(refined[:, [1, 3]], build()(images, scores))


def test_every_class_with_scores_counts():
    """However small: the others share what the label leaves."""
    images, scores = scene(classes=4)
    scores[:, 3] *= 1e-9
    assert build().present(scores[0]).tolist() == [True] * 4
    torch.testing.assert_close(build(**SILENT)(images, scores)[0, 3], torch.full((14, 17), 0.1))


def test_a_class_alone_wins_everywhere():
    images, scores = scene()
    alone = scores * torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    refined = build()(images, alone)
    assert refined[:, 1].min() == 1
    assert refined[:, [0, 2]].abs().max() == 0
    assert build()(images, 0 * scores).abs().max() == 0


@pytest.mark.parametrize('value', [0, 1, 1.5])
def test_gt_prob_is_a_probability(value):
    with pytest.raises(ValueError, match=rf'gt_prob is the probability of a label, in \(0, 1\), got {value}'):
        build(gt_prob=value)
