import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.cam import multi_scale_cam, normalize_cam


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
        return (F.conv2d(x, weight, stride=8),)

    expected = 0
    for scale in scales:
        scaled = resize(images, (int(24 * scale), int(32 * scale)))
        straight = resize(cam_function(scaled)[0], (24, 32))
        mirrored = resize(cam_function(scaled.flip(3))[0], (24, 32)).flip(3)
        expected = expected + torch.maximum(straight, mirrored).relu()
    expected = expected - expected.amin((2, 3), keepdim=True)
    expected = expected / (expected.amax((2, 3), keepdim=True) + 1e-5)
    (actual,) = multi_scale_cam(cam_function, images, scales=scales)
    torch.testing.assert_close(actual, expected)


def test_a_pass_that_was_made_is_not_repeated():
    images = torch.randn(2, 3, 16, 16)
    seen = []

    def cam_function(x):
        seen.append(tuple(x.shape))
        return x[:, :2, ::8, ::8], x[:, 1:, ::8, ::8]

    plain = multi_scale_cam(cam_function, images, scales=(1.0, 0.5))
    assert seen == [(4, 3, 16, 16), (4, 3, 8, 8)]
    first = cam_function(images)
    seen.clear()
    reused = multi_scale_cam(cam_function, images, scales=(1.0, 0.5), at_scale_one=first)
    assert seen == [(2, 3, 16, 16), (4, 3, 8, 8)]
    for left, right in zip(plain, reused, strict=True):
        torch.testing.assert_close(left, right)
