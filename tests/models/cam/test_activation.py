import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmseg_wsss.models.cam import multi_scale_cam, normalize_cam, scale_bicubic, scale_bilinear


def resize(x, size):
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)


def test_normalized_maps_span_zero_to_one_and_empty_maps_stay_zero():
    cam = torch.tensor([[[[2.0, 4.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    normal = normalize_cam(cam)
    torch.testing.assert_close(normal[0, 0], torch.tensor([[0.0, 0.5], [0.25, 1.0]]), rtol=0, atol=1e-5)
    assert normal[0, 1].abs().max() == 0


@pytest.mark.parametrize('scales', [(1.0, 0.5, 1.5), (0.5,), (1.5, 1.0)])
def test_multi_scale_cam_is_the_formula(scales):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 24, 32)
    weight = torch.randn(4, 3, 8, 8)

    def cam_function(x):
        return {'cam': F.conv2d(x, weight, stride=8)}

    expected = 0
    for scale in scales:
        scaled = resize(images, (int(24 * scale), int(32 * scale)))
        straight = resize(cam_function(scaled)['cam'], (24, 32))
        mirrored = resize(cam_function(scaled.flip(3))['cam'], (24, 32)).flip(3)
        expected = expected + torch.maximum(straight, mirrored).relu()
    expected = expected - expected.amin((2, 3), keepdim=True)
    expected = expected / (expected.amax((2, 3), keepdim=True) + 1e-5)
    actual = multi_scale_cam(cam_function, images, scales=scales)
    assert list(actual) == ['cam']
    torch.testing.assert_close(actual['cam'], expected)


def test_a_pass_that_was_made_is_not_repeated():
    images = torch.randn(2, 3, 16, 16)
    seen = []

    def cam_function(x):
        seen.append(tuple(x.shape))
        return {'first': x[:, :2, ::8, ::8], 'second': x[:, 1:, ::8, ::8]}

    plain = multi_scale_cam(cam_function, images, scales=(1.0, 0.5))
    assert seen == [(4, 3, 16, 16), (4, 3, 8, 8)]
    first = cam_function(images)
    seen.clear()
    reused = multi_scale_cam(cam_function, images, scales=(1.0, 0.5), at_scale_one=first)
    assert seen == [(2, 3, 16, 16), (4, 3, 8, 8)]
    assert list(reused) == ['first', 'second']
    for name, left in plain.items():
        torch.testing.assert_close(left, reused[name])


def test_signed_maps_keep_what_is_below_zero():
    """By hand, two scales: the maximum of the pair is below 0 on one side."""
    side = torch.tensor([[[[-3.0, -1.0, 1.0, 3.0]]]])

    def cam_function(x):
        mirrored = len(x) // 2
        both = torch.cat((side.expand(mirrored, -1, -1, -1), side.flip(-1).expand(mirrored, -1, -1, -1)))
        return {'plain': both, 'signed': both}

    cams = multi_scale_cam(cam_function, torch.zeros(1, 3, 1, 4), scales=(1, 2), signed=('signed',))
    torch.testing.assert_close(cams['plain'], torch.tensor([[[[0, 0, 1 / 3, 1]]]]), rtol=0, atol=1e-5)
    torch.testing.assert_close(cams['signed'], torch.tensor([[[[0, 1 / 3, 2 / 3, 1]]]]), rtol=0, atol=1e-5)


def test_published_scales_and_eps_are_the_defaults():
    images = torch.randn(1, 3, 16, 16)
    sides, tiny = [], torch.zeros(1, 1, 2, 2)
    tiny[..., 0] = 1e-5 / 3  # of every scale, so that the peak of the sum is the eps

    def cam_function(x):
        sides.append(x.shape[-1])
        return {'cam': tiny.expand(len(x), -1, -1, -1)}

    cam = multi_scale_cam(cam_function, images, merge_flip=lambda straight, mirrored: straight)['cam']
    assert sides == [16, 8, 24]
    assert cam.max().item() == pytest.approx(0.5)


def test_scales_of_odd_sides_are_resized_to_their_size():
    """By hand: 5 pixels to int(0.5 * 5) = 2, so pixel i of 2 looks at (i + 0.5) * 5 / 2 - 0.5 = 0.75 and 3.25.

    A factor of 0.5 would look at 0.5 and 2.5 instead.
    """
    row = torch.arange(5.0).expand(1, 3, 5, 5)
    assert scale_bilinear(row, 0.5)[0, 0].tolist() == [[0.75, 3.25]] * 2
    assert scale_bilinear(row, 1.5).shape[-2:] == (7, 7)
    assert scale_bicubic(row, 1.5).shape[-2:] == (8, 8), 'Python rounds 7.5 to 8'


@pytest.mark.parametrize('scale_images', [scale_bilinear, scale_bicubic])
def test_a_scale_leaves_at_least_a_pixel(scale_images):
    assert scale_images(torch.tensor([[[[0.0, 2.0, 4.0, 6.0]]]]), 0.25).tolist() == [[[[3.0]]]]


@pytest.mark.parametrize('scale', [0.8, 1.2])
def test_bicubic_scales_are_pillows(scale):
    rng = np.random.default_rng(0)
    image = rng.integers(70, 186, (37, 53, 3), dtype=np.uint8)  # so that nothing overshoots 0..255, which Pillow cuts
    size = (round(53 * scale), round(37 * scale))
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    actual = scale_bicubic(torch.from_numpy(image).permute(2, 0, 1)[None].float(), scale)
    actual = actual[0].permute(1, 2, 0).numpy()
    assert np.abs(actual - expected).max() <= 1.5, 'Pillow rounds twice, once per axis'
    assert np.abs(actual - expected).mean() < 0.4


def test_normalisation_of_small_maps_needs_a_small_eps():
    """Of a map of 1e-3 the eps of 1e-5 takes 1 % of the peak."""
    cam = torch.tensor([[[[0.0, 1e-3, 0.0]]]])
    assert normalize_cam(cam).max().item() == pytest.approx(1e-3 / (1e-3 + 1e-5))
    own = multi_scale_cam(lambda x: {'': cam.expand(len(x), -1, -1, -1)}, torch.zeros(1, 3, 1, 3), scales=[1], eps=1e-8)
    assert own[''].max().item() == pytest.approx(1, abs=2e-5)


def test_a_class_that_fills_the_image_has_no_background_to_stand_out_from():
    """What docs/data.md says of sky, grass and road: the scale is the image's own."""
    everywhere = torch.full((1, 1, 64, 64), 5.0)
    assert normalize_cam(everywhere).max() == 0, 'all background, at every threshold'
    nearly = everywhere + 0.01 * torch.rand(1, 1, 64, 64)
    share = [(normalize_cam(nearly) > threshold).float().mean().item() for threshold in (0.5, 0.2)]
    assert share == pytest.approx([0.5, 0.8], abs=0.03)
