"""PAR: recorded numbers of the published code, the formula as slow loops, and invariants."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS


def build(**kwargs):
    return MODELS.build(dict(type='PAR', **kwargs))


def slow_par(image, score, dilations, num_iter, w1, w2):
    """The formula of one image (3, H, W) and score (K, H, W), pixel by pixel, float64."""
    height, width = image.shape[1:]
    offsets = [(y * d, x * d) for d in dilations for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    distance = np.array([np.hypot(*offset) for offset in offsets])
    position = np.exp(-((distance / distance.std(ddof=1) / w1) ** 2))
    position /= position.sum()

    def neighbours(array, i, j):
        return np.stack([array[:, np.clip(i + y, 0, height - 1), np.clip(j + x, 0, width - 1)] for y, x in offsets])

    for _ in range(num_iter):
        refined = np.zeros_like(score)
        for i in range(height):
            for j in range(width):
                colours = neighbours(image, i, j)
                ratio = np.abs(colours - image[:, i, j]) / (colours.std(axis=0, ddof=1) + 1e-8) / w1
                colour = np.exp(-(ratio**2).mean(axis=1))
                weight = colour / colour.sum() + w2 * position
                refined[:, i, j] = weight @ neighbours(score, i, j)
        score = refined
    return score


def test_golden(golden):
    arrays = golden('toco_par')
    refined = build()(arrays['images'], arrays['masks'])
    torch.testing.assert_close(refined, arrays['refined'], atol=1e-5, rtol=0)


@pytest.mark.parametrize(('dilations', 'w1', 'w2'), [((1,), 0.3, 0.01), ((1, 3), 0.7, 0.5)])
def test_slow_loops(dilations, w1, w2):
    rng = np.random.default_rng(3)
    image, score = rng.random((3, 5, 4)), rng.random((2, 5, 4))
    expected = slow_par(image, score, dilations, 3, w1, w2)
    par = build(num_iter=3, dilations=dilations, w1=w1, w2=w2)
    refined = par(torch.from_numpy(image[None]).float(), torch.from_numpy(score[None]).float())
    np.testing.assert_allclose(refined[0].numpy(), expected, atol=2e-6)


def test_constant_scores_grow_by_the_position_weight():
    refined = build(num_iter=2, dilations=(1, 2), w2=0.25)(torch.rand(1, 3, 6, 7), torch.full((1, 2, 3, 3), 0.4))
    torch.testing.assert_close(refined, torch.full((1, 2, 6, 7), 0.4 * 1.25**2))


def test_images_of_a_batch_do_not_mix():
    images, scores = torch.rand(3, 3, 9, 30), torch.rand(3, 2, 9, 30)
    par = build(num_iter=2)
    alone = torch.cat([par(images[i : i + 1], scores[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(par(images, scores), alone)


def test_scores_follow_a_colour_edge():
    """A blob that is shifted by two pixels against the object moves onto the object."""
    image = torch.zeros(1, 3, 24, 24)
    image[..., 8:16, 8:16] = 1
    image += 0.02 * torch.rand_like(image)
    ground_truth = torch.zeros(24, 24)
    ground_truth[8:16, 8:16] = 1
    blob = torch.roll(ground_truth, (2, 2), (0, 1))
    scores = torch.stack([0.6 - 0.2 * blob, 0.4 + 0.2 * blob])[None]
    wrong = (scores.argmax(1) != ground_truth).sum()
    refined_wrong = (build(dilations=(1, 2, 4))(image, scores).argmax(1) != ground_truth).sum()
    assert wrong == 56
    assert refined_wrong <= wrong // 4


def test_flat_image_averages_neighbours():
    """No colour contrast anywhere: 0 / 0 must not appear, all neighbours weigh the same."""
    scores = torch.rand(1, 2, 5, 5)
    refined = build(num_iter=1, dilations=(1,), w2=0)(torch.full((1, 3, 5, 5), 0.3), scores)
    window = F.avg_pool2d(F.pad(scores, [1] * 4, mode='replicate'), 3, stride=1) * 9
    torch.testing.assert_close(refined, (window - scores) / 8)


def test_autocast_keeps_float32_and_gives_no_gradient(golden):
    arrays = golden('toco_par')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        refined = build()(arrays['images'], arrays['masks'].requires_grad_())
    assert not refined.requires_grad
    torch.testing.assert_close(refined, arrays['refined'], atol=1e-5, rtol=0)


def test_leaves_no_trace_in_a_checkpoint():
    assert not build().state_dict()


def test_errors():
    for maps in (0, 1, 3):
        with pytest.raises(ValueError, match=f'2 images and {maps} score maps'):
            build()(torch.rand(2, 3, 4, 4), torch.rand(maps, 2, 4, 4))
    with pytest.raises(ValueError, match='dilations >= 1'):
        build(dilations=(0, 1))
    with pytest.raises(ValueError, match='num_iter >= 0'):
        build(num_iter=-1)


def test_without_iterations_scores_are_resized():
    scores = torch.rand(1, 2, 3, 3)
    refined = build(num_iter=0)(torch.rand(1, 3, 6, 6), scores)
    torch.testing.assert_close(refined, F.interpolate(scores, size=(6, 6), mode='bilinear', align_corners=True))


def test_several_maps_of_an_image_are_refined_as_if_alone():
    images, scores = torch.rand(2, 3, 12, 10), torch.rand(6, 4, 6, 5)
    par = MODELS.build({'type': 'PAR', 'num_iter': 3, 'dilations': (1, 2)})
    together = par(images, scores)
    apart = torch.cat([par(images, part) for part in scores.split(2)])
    torch.testing.assert_close(together, apart)
