"""Photometry does what DINO's does, on RGB, and leaves padding alone."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2

from mmseg_wsss.datasets.transforms import DINOPhotometry, StrongPhotometry


def picture(height=32, width=40):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def fixed(monkeypatch, *, color, **kwargs):
    """The transform with the random colour step replaced by a known one."""
    transform = DINOPhotometry(**kwargs)
    monkeypatch.setattr(transform, 'color', color)
    return transform


def test_solarize_by_hand(monkeypatch):
    image = np.array([[[0, 100, 127], [128, 200, 255]]], dtype=np.uint8)
    transform = fixed(monkeypatch, color=lambda x: x, blur_prob=0, solarize_prob=1)
    assert transform({'img': image})['img'].tolist() == [[[0, 100, 127], [127, 55, 0]]]


def test_the_chain_is_torchvisions():
    image = picture()
    ours = DINOPhotometry(blur_prob=0, solarize_prob=0.5)
    solarized = 0
    for seed in range(30):
        torch.manual_seed(seed)
        output = ours({'img': image})['img']
        torch.manual_seed(seed)
        color = ours.color(Image.fromarray(np.ascontiguousarray(image[..., ::-1])))
        torch.rand(1)  # whether to blur
        if torch.rand(1).item() < 0.5:
            color = v2.functional.solarize(color, 128)
            solarized += 1
        np.testing.assert_array_equal(output, np.asarray(color)[..., ::-1])
    assert 5 < solarized < 25


def test_blur_is_dinos_within_rounding(monkeypatch):
    # DINO blurs with Pillow, whose radius is the standard deviation; three box filters come near a Gaussian there.
    small = Image.fromarray(picture(8, 10))
    image = np.asarray(small.resize((80, 64), Image.BICUBIC))
    transform = fixed(monkeypatch, color=lambda x: x, blur_prob=1)
    sigmas = []
    for seed in range(8):
        torch.manual_seed(seed)
        blurred = transform({'img': image})['img']
        torch.manual_seed(seed)
        torch.rand(1)
        sigmas.append(torch.empty(1).uniform_(0.1, 2).item())
        pillow = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigmas[-1])))
        assert np.abs(blurred.astype(int) - pillow)[6:-6, 6:-6].max() <= 4
        if sigmas[-1] > 1:
            assert np.abs(blurred.astype(int) - image).max() > 8
    assert min(sigmas) < 0.5
    assert max(sigmas) > 1.5


def test_the_ranges_of_the_jitter():
    jitter, gray = DINOPhotometry(blur_prob=0).color.transforms
    (colors,) = jitter.transforms
    ranges = dict(brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.8, 1.2), hue=(-0.1, 0.1))
    for name, expected in ranges.items():
        assert getattr(colors, name) == pytest.approx(expected), name
    assert (jitter.p, gray.p) == (0.8, 0.2)


def test_without_arguments_nothing_is_solarized():
    assert DINOPhotometry(blur_prob=0).solarize_prob == 0


def test_gray_weighs_red_as_red():
    # blue, green, red in BGR; ITU-R 601 luma: 0.114, 0.587, 0.299 of 255
    image = np.zeros((1, 3, 3), dtype=np.uint8)
    image[0, 0, 0] = image[0, 1, 1] = image[0, 2, 2] = 255
    transform = DINOPhotometry(blur_prob=0)
    transform.color = transform.color.transforms[1]
    transform.color.p = 1.0
    np.testing.assert_allclose(transform({'img': image})['img'][0], [[29] * 3, [150] * 3, [76] * 3], atol=1)


def test_jitter_and_grey_have_dinos_numbers():
    jitter, grey = DINOPhotometry(blur_prob=0).color.transforms
    assert jitter.p == 0.8
    (jitter,) = jitter.transforms
    ranges = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    assert ranges == ((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1))
    assert grey.p == 0.2


def test_jitter_and_grey_of_another_recipe():
    jitter, grey = DINOPhotometry(blur_prob=0, jitter_prob=0.5, gray_prob=0).color.transforms
    assert (jitter.p, grey.p) == (0.5, 0)
    image = picture()
    outputs = [DINOPhotometry(blur_prob=0, jitter_prob=0.5, gray_prob=0)({'img': image})['img'] for _ in range(200)]
    assert 80 < sum(np.array_equal(output, image) for output in outputs) < 120
    assert DINOPhotometry(blur_prob=0, jitter_prob=0, gray_prob=1)({'img': image})['img'].std(axis=2).max() == 0
    assert repr(DINOPhotometry(blur_prob=0.1, solarize_prob=0.2, jitter_prob=0.3, gray_prob=0.4)) == (
        'DINOPhotometry(blur_prob=0.1, solarize_prob=0.2, jitter_prob=0.3, gray_prob=0.4)'
    )


def test_probabilities_of_the_recipe():
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[..., 1], image[..., 2] = 200, 100
    outputs = [DINOPhotometry(blur_prob=0, solarize_prob=0.5)({'img': image})['img'][0, 0] for _ in range(600)]
    gray = np.mean([len(set(pixel.tolist())) == 1 for pixel in outputs])
    untouched = np.mean([pixel.tolist() in ([0, 200, 100], [0, 55, 100]) for pixel in outputs])
    # gray with 0.2; no jitter and no gray with 0.2 * 0.8 = 0.16; 4 standard deviations of 600 draws are about 0.065
    assert abs(gray - 0.2) < 0.065
    assert abs(untouched - 0.16) < 0.065


def test_padding_stays_black_and_has_no_influence():
    image = picture()
    padded = np.zeros((50, 60, 3), dtype=np.uint8)
    padded[5:37, 10:50] = image
    transform = DINOPhotometry(blur_prob=1, solarize_prob=1)
    for seed in range(5):
        torch.manual_seed(seed)
        alone = transform({'img': image})['img']
        torch.manual_seed(seed)
        output = transform({'img': padded, 'valid_box': (5, 37, 10, 50)})['img']
        np.testing.assert_array_equal(output[5:37, 10:50], alone)
        output[5:37, 10:50] = 0
        assert (output == 0).all()


def test_input_is_not_changed_and_the_seed_decides():
    image = picture()
    before = image.copy()
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(DINOPhotometry(blur_prob=0.5, solarize_prob=0.5)({'img': image})['img'])
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()


@pytest.mark.parametrize('shape', [(1, 30), (30, 1), (1, 1)])
def test_thin_images(shape):
    image = np.full((*shape, 3), 90, dtype=np.uint8)
    for _ in range(10):
        output = DINOPhotometry(blur_prob=1, solarize_prob=0.5)({'img': image})['img']
        np.testing.assert_array_equal(output, np.broadcast_to(output[0, 0], image.shape))  # flat stays flat


@pytest.mark.parametrize('name', ['blur_prob', 'solarize_prob', 'jitter_prob', 'gray_prob'])
@pytest.mark.parametrize('value', [1.5, -0.5])
def test_probabilities_are_checked(name, value):
    with pytest.raises(ValueError, match=f'{name} is a probability, but {value}'):
        DINOPhotometry(**{'blur_prob': 0, name: value})


def test_strong_operations_are_the_recorded_ones(golden):
    g = golden('dupl_strong_ops')
    image = g.pop('image_u8').numpy().astype(np.uint8)[..., ::-1]
    assert len(g) == len(StrongPhotometry().operations) == 7
    for index, (name, expected) in enumerate(g.items()):
        found = StrongPhotometry().apply(image, [index])
        np.testing.assert_array_equal(found[..., ::-1], expected.numpy().astype(np.uint8), err_msg=name)


def test_strong_view_is_the_recorded_one(golden):
    """The recording is normalised and flipped."""
    g = golden('dupl_strong')
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    for image, drawn, expected in zip(g['image_u8'], g['ops'].long().tolist(), g['augmented'], strict=True):
        assert len(drawn) == StrongPhotometry().num_ops
        found = StrongPhotometry().apply(image.numpy().astype(np.uint8)[..., ::-1], drawn)[:, ::-1, ::-1]
        np.testing.assert_allclose(((found - mean) / std).transpose(2, 0, 1), expected, atol=1e-5)


@pytest.mark.parametrize(('magnitude', 'bits', 'factor'), [(0, 0, 0.1), (4, 0, 0.34), (5, 1, 0.4), (30, 6, 1.9)])
def test_magnitude_goes_through_the_ranges(magnitude, bits, factor):
    settings = [one.keywords for one in StrongPhotometry(magnitude=magnitude).operations[2:]]
    assert settings[0] == {'bits': bits}
    assert [value for each in settings[1:] for value in each.values()] == pytest.approx([factor] * 4)


def test_strong_draws_are_torchs_with_replacement():
    transform, drawn = StrongPhotometry(num_ops=2), []
    transform.operations = [lambda x, index=index: drawn.append(index) or x for index in range(7)]
    for _ in range(300):
        transform({'img': picture(2, 2)})
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    assert len(pairs) == 300
    assert {*drawn} == {*range(7)}
    assert any(first == second for first, second in pairs)
    torch.manual_seed(3)
    one = StrongPhotometry()({'img': picture()})['img']
    torch.manual_seed(3)
    np.testing.assert_array_equal(one, StrongPhotometry().apply(picture(), torch.randint(7, (5,)).tolist()))


def test_strong_padding_stays_black_and_has_no_influence():
    image, box = picture(), (4, 30, 10, 33)
    padded = np.zeros_like(image)
    padded[4:30, 10:33] = image[4:30, 10:33]
    torch.manual_seed(1)
    found = StrongPhotometry(num_ops=7)({'img': padded, 'valid_box': box})['img']
    torch.manual_seed(1)
    alone = StrongPhotometry(num_ops=7)({'img': np.ascontiguousarray(image[4:30, 10:33])})['img']
    np.testing.assert_array_equal(found[4:30, 10:33], alone)
    assert found.astype(int).sum() == alone.astype(int).sum()
    np.testing.assert_array_equal(StrongPhotometry(num_ops=0)({'img': image})['img'], image)


@pytest.mark.parametrize('settings', [{'num_ops': -1}, {'magnitude': -1}, {'magnitude': 31}])
def test_impossible_strength_is_refused(settings):
    with pytest.raises(ValueError, match=r'^num_ops must be 0 or more and magnitude in 0..30, got'):
        StrongPhotometry(**settings)
    assert repr(StrongPhotometry()) == 'StrongPhotometry(num_ops=5, magnitude=10)'
