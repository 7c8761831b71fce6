"""DenseCRF: a direct pydensecrf call, the exact mean field on a small image, and what the wrapper adds."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from PIL import Image

VOC = Path(__file__).parents[3] / 'data/VOCdevkit/VOC2012/JPEGImages'

pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')


def build(**kwargs):
    return MODELS.build(dict(type='DenseCRF', **kwargs))


def scene(height=14, width=17, classes=3, noise=0.0):
    """An image of two colour regions and noisy probabilities that favour class 0 left and class 1 right."""
    rng = np.random.default_rng(0)
    image = np.zeros((3, height, width))
    image[0, :, : width // 2] = 0.9
    image[1, :, width // 2 :] = 0.8
    image = np.clip(image + noise * rng.standard_normal(image.shape), 0, 1)
    score = rng.random((classes, height, width)) + 0.3
    score[0, :, : width // 2] += 0.4
    score[1, :, width // 2 :] += 0.4
    score /= score.sum(axis=0)
    return torch.from_numpy(image[None]).float(), torch.from_numpy(score[None]).float()


def exact_mean_field(image, score, num_iter, gaussian, bilateral):
    """Mean field with the full n x n kernels, symmetrically normalised, the pixel itself included; float64."""
    classes, height, width = score.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    colour = np.round(image * 255).reshape(3, -1)
    place = np.stack([x, y]).astype(float)

    def kernel(features):
        matrix = np.exp(-0.5 * ((features[:, :, None] - features[:, None]) ** 2).sum(axis=0))
        norm = 1 / np.sqrt(matrix.sum(axis=1))
        return norm[:, None] * matrix * norm

    message = gaussian['compat'] * kernel(place / gaussian['sxy'])
    message += bilateral['compat'] * kernel(np.concatenate([place / bilateral['sxy'], colour / bilateral['srgb']]))
    unary = np.log(score.reshape(classes, -1))
    probability = score.reshape(classes, -1)
    for _ in range(num_iter):
        logits = unary + probability @ message
        probability = np.exp(logits - logits.max(axis=0))
        probability /= probability.sum(axis=0)
    return probability.reshape(classes, height, width)


def test_direct_call():
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    images, scores = scene(noise=0.05)
    crf = DenseCRF2D(17, 14, 3)
    crf.setUnaryEnergy(unary_from_softmax(scores[0].numpy()))
    crf.addPairwiseGaussian(sxy=1, compat=1)
    crf.addPairwiseBilateral(
        sxy=121, srgb=5, rgbim=np.ascontiguousarray((images[0] * 255).round().byte().permute(1, 2, 0).numpy()), compat=4
    )
    expected = np.reshape(crf.inference(10), (3, 14, 17))
    np.testing.assert_allclose(build()(images, scores)[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize('num_iter', [1, 5])
def test_exact_mean_field(num_iter):
    images, scores = scene(noise=0.02)
    gaussian, bilateral = {'sxy': 2, 'compat': 0.5}, {'sxy': 6, 'srgb': 20, 'compat': 1}
    refined = build(num_iter=num_iter, gaussian=gaussian, bilateral=bilateral)(images, scores)[0].numpy()
    expected = exact_mean_field(images[0].double().numpy(), scores[0].double().numpy(), num_iter, gaussian, bilateral)
    # The lattice is approximate: 0.003 and 0.007 off here, while the CRF moves probabilities by 0.07 and 0.13.
    np.testing.assert_allclose(refined, expected, atol=0.01)


def test_follows_the_colours():
    images, scores = scene(height=20, width=20, classes=2)
    ground_truth = torch.arange(20).ge(10).long().expand(20, 20)
    assert (scores[0].argmax(0) != ground_truth).float().mean() > 0.1
    assert torch.equal(build()(images, scores)[0].argmax(0), ground_truth)


def test_absent_classes_stay_zero_and_change_nothing():
    images, scores = scene(classes=2, noise=0.05)
    padded = torch.zeros(1, 5, 14, 17)
    padded[:, [1, 3]] = scores
    refined = build()(images, padded)
    assert refined[:, [0, 2, 4]].abs().max() == 0
    torch.testing.assert_close(refined[:, [1, 3]], build()(images, scores))
    assert build()(images, torch.zeros(1, 4, 14, 17)).abs().max() == 0


def many_classes(name, seed):
    """A photo (drawn where there is none) and 21 probabilities of a sure network, most of them small everywhere."""
    generator = torch.Generator().manual_seed(seed)
    if (VOC / f'{name}.jpg').is_file():
        image = torch.from_numpy(np.array(Image.open(VOC / f'{name}.jpg').convert('RGB').resize((160, 120))))
        image = image.permute(2, 0, 1)[None] / 255
    else:
        areas = torch.rand(1, 3, 5, 6, generator=generator)
        image = torch.nn.functional.interpolate(areas, size=(120, 160))
        image += 0.03 * torch.randn(1, 3, 120, 160, generator=generator)
    logits = torch.randn(1, 21, 8, 10, generator=generator)
    logits[:, :3] = 5 * logits[:, :3] + 22
    logits = torch.nn.functional.interpolate(logits, size=(120, 160), mode='bilinear')
    logits[:, :3] += 2 * torch.rand(1, 3, 120, 160, generator=generator)
    return image.clamp(0, 1), logits


@pytest.mark.parametrize('preset', ['toco', 'weaktr-voc', 'weaktr-coco'])
@pytest.mark.parametrize('name', ['2007_000032', '2008_002293', '2010_000996', '2011_002697'])
def test_negligible_classes_change_hardly_a_pixel(preset, name):
    """Below the clipping value, the default, and where a class is unlikely everywhere."""
    images, logits = many_classes(name, seed=len(preset))
    labels = {}
    for smallest, sharpness in [(1e-5, 1), (1e-3, 0.6)]:
        scores = (sharpness * logits).softmax(dim=1)
        few, every = build(preset=preset, negligible=smallest), build(preset=preset, negligible=0)
        assert few.present(scores[0]).sum() <= 5
        assert every.present(scores[0]).all()
        labels[smallest] = [crf(images, scores)[0].argmax(dim=0) for crf in (few, every)]
        few_labels, every_label = labels[smallest]
        assert (few_labels != every_label).float().mean() < 2e-3, 'pixels between two classes may change'
        assert (labels[smallest][0] != scores[0].argmax(dim=0)).float().mean() > 0.02
    assert build().negligible == 1e-5


def test_present_classes():
    scores = torch.tensor([[2.0, 3.0], [1.0, 0.0], [2e-5, 3e-5], [4e-5, 4e-5], [0.0, 0.0]])[:, None]
    # by hand: shares of at most 1, 1/3, 1.0e-5 (3e-5 / 3), 1.3e-5 and 0
    assert build().present(scores).tolist() == [True, True, False, True, False]
    assert build(negligible=0.4).present(scores).tolist() == [True, False, False, False, False]
    assert build(negligible=0).present(scores).tolist() == [True, True, True, True, False]


def test_scale_of_the_scores_does_not_matter():
    images, scores = scene(noise=0.05)
    torch.testing.assert_close(build()(images, 7 * scores), build()(images, scores))


def test_small_scores_strided_images_and_batches():
    """Half-size scores, images that are neither contiguous nor writable for numpy, two images at once."""
    images, scores = scene(height=16, width=20, noise=0.05)
    strided = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).expand(2, -1, -1, -1)
    small = torch.nn.functional.avg_pool2d(scores, 2)
    refined = build(num_iter=3)(strided, torch.cat([small, small.flip(1)]))
    full = torch.nn.functional.interpolate(small, size=(16, 20), mode='bilinear')
    torch.testing.assert_close(refined[:1], build(num_iter=3)(images, full))
    torch.testing.assert_close(refined[1].flip(0), refined[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(refined.sum(1), torch.ones(2, 16, 20))


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(ImportError, match=r'pip install pydensecrf2==1\.1'):
        build()


def test_mismatched_batch():
    with pytest.raises(ValueError, match='2 images and 1 score maps'):
        build()(torch.rand(2, 3, 4, 4), torch.rand(1, 2, 4, 4))


def test_several_maps_of_an_image_are_refined_as_if_alone():
    images, scores = torch.rand(2, 3, 12, 10), torch.rand(4, 3, 12, 10)
    crf = MODELS.build({'type': 'DenseCRF', 'num_iter': 2})
    torch.testing.assert_close(crf(images, scores), torch.cat([crf(images, part) for part in scores.split(2)]))
