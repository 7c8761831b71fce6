import pytest
import torch
import torch.nn.functional as F
from published import drawn_image

from mmseg_wsss.models import PAR
from mmseg_wsss.models.cam import cam_to_label, cam_to_roi, falling_threshold, pair_relation, refined_label, valid_mask

LOW, HIGH = 0.25, 0.7


@pytest.fixture
def recorded(golden):
    g = golden('toco_pseudo_label')
    g['cam'] = g['cams'] * g['image_labels'][:, :, None, None]
    g['valid'] = valid_mask(g['valid_box_h0h1w0w1'], (48, 64), torch.device('cpu'))
    return g


def test_recorded_label_and_roi(recorded):
    torch.testing.assert_close(recorded['cam'], recorded['valid_cams'])
    label = cam_to_label(recorded['cam'], low=LOW, high=HIGH, valid=recorded['valid'])
    assert torch.equal(label, recorded['label'])
    assert torch.equal(cam_to_roi(recorded['cam'], low=LOW, high=HIGH), recorded['roi'].long())


def test_recorded_refined_label(recorded):
    label = refined_label(
        recorded['cam'],
        recorded['images'],
        recorded['image_labels'],
        PAR(),
        low=LOW,
        high=HIGH,
        valid=recorded['valid'],
    )
    assert torch.equal(label, recorded['refined_label'].long())


def test_refined_label_never_names_an_absent_class():
    cam = torch.rand(2, 3, 16, 16)  # not multiplied by the labels, to tempt it
    scores = torch.tensor([[1.0, 0, 0], [0, 0, 0]])
    images = torch.rand(2, 3, 16, 16)
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    label = refined_label(cam, images, scores, PAR(num_iter=2), low=LOW, high=HIGH, valid=valid)
    assert set(label[0].unique().tolist()) <= {0, 1, 255}
    assert label[1].unique().tolist() == [0]  # nothing present: background everywhere


def test_refined_label_of_odd_sides_by_hand():
    """3 x 5 pixels become 1 x 2 for the refiner; what it returns is resized back and decides."""
    cam, images, seen = torch.rand(1, 2, 3, 5), torch.rand(1, 3, 3, 5), []

    def refiner(small, probability):
        seen.append((small, probability))
        return torch.tensor([[0.0, 5.0], [1.0, 0.0], [0.0, 0.0]])[None, :, None].repeat(2, 1, 1, 1)

    valid = torch.ones(1, 3, 5, dtype=torch.bool)
    label = refined_label(cam, images, torch.tensor([[1.0, 0]]), refiner, low=LOW, high=HIGH, valid=valid)
    assert label.tolist() == [[[1, 1, 0, 0, 0]] * 3], 'the columns look at 0, 0.1, 0.5, 0.9 and 1 of the two'
    ((small, probability),) = seen

    def half(x):
        return F.interpolate(x, size=(1, 2), mode='bilinear')

    torch.testing.assert_close(small, half(images))
    own = half(cam)[0, 0, 0]
    for threshold, found in zip((HIGH, LOW), probability, strict=True):
        expected = torch.stack((torch.full_like(own, threshold), own)).softmax(dim=0)
        torch.testing.assert_close(found[:2, 0], expected)
        assert found[2].max() == 0


def test_thresholds_are_inclusive_below_and_exclusive_above():
    cam = torch.tensor([0.25, 0.2500001, 0.7, 0.7000001]).view(1, 1, 1, 4)
    assert cam_to_label(cam, low=LOW, high=HIGH).tolist() == [[[0, 255, 255, 1]]]
    assert cam_to_label(cam, low=0.5, high=0.5).tolist() == [[[0, 0, 1, 1]]]


def test_label_is_the_class_of_the_maximum_inside_the_valid_region():
    cam = torch.tensor([[0.9, 0.1, 0.9], [0.8, 0.95, 0.1]]).view(1, 2, 1, 3)
    valid = torch.tensor([[[True, True, False]]])
    assert cam_to_label(cam, low=LOW, high=HIGH, valid=valid).tolist() == [[[1, 2, 255]]]


def test_valid_mask_is_half_open():
    mask = valid_mask([(1, 3, 0, 2), (0, 0, 0, 0)], (3, 3), torch.device('cpu'))
    assert mask[0].long().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]
    assert not mask[1].any()


def test_recorded_pairs(golden):
    g = golden('toco_ptc')
    positive, negative = pair_relation(g['labels'])
    assert torch.equal(positive, g['pair_mask'] == 1)
    assert torch.equal(negative, g['pair_mask'] == 0)


def masked(g, size):
    cam = g['cams'] * g['image_labels'][:, :, None, None]
    return cam, valid_mask(g['boxes'].long(), size, torch.device('cpu'))


def test_recorded_label_with_a_threshold_per_image(golden):
    g = golden('dupl_label')
    cam, valid = masked(g, (24, 20))
    label = cam_to_label(cam, low=LOW, high=g['image_thresholds'], valid=valid)
    assert torch.equal(label, g['labels'].long())
    assert not torch.equal(cam_to_label(cam, low=LOW, high=HIGH, valid=valid), label)


def test_recorded_refined_label_with_a_threshold_per_image(golden):
    g = golden('dupl_refined_label')
    cam, valid = masked(g, (64, 80))
    mean, std = (torch.tensor(each)[:, None, None] for each in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    images = (drawn_image(1702, 4, 64, 80) * std + mean).floor() / 255
    scores, high = g['image_labels'], g['image_thresholds']
    label = refined_label(cam, images, scores, PAR(), low=LOW, high=high, valid=valid)
    assert torch.equal(label, g['labels'].long())


def test_one_threshold_is_that_of_every_image():
    cam, scores = torch.rand(3, 2, 12, 10), torch.ones(3, 2)
    images, valid = torch.rand(3, 3, 12, 10), torch.ones(3, 12, 10, dtype=torch.bool)
    every = torch.full((3,), 0.6)
    assert torch.equal(cam_to_label(cam, low=LOW, high=0.6), cam_to_label(cam, low=LOW, high=every))
    labels = [
        refined_label(cam, images, scores, PAR(num_iter=2), low=LOW, high=high, valid=valid) for high in (0.6, every)
    ]
    assert torch.equal(*labels)


def test_recorded_thresholds_of_the_classes(golden):
    g = golden('dupl_thresholds')
    for step, expected in zip(g['steps'].long().tolist(), g['thresholds'], strict=True):
        found = falling_threshold(step, start=0.7, end=g['target'], length=18000)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_threshold_falls_from_its_first_to_its_last_step():
    end = torch.tensor([0.5, 0.7])
    for step, first in ((-3, 0.7), (0, 0.7), (2, 0.6), (4, 0.5), (5, 0.5), (99, 0.5)):
        found = falling_threshold(step, start=0.7, end=end, length=5)
        torch.testing.assert_close(found, torch.tensor([first, 0.7]))
    quarter = falling_threshold(1, start=0.7, end=end, length=5)[0].item()
    assert quarter == pytest.approx(0.7 - 0.2 * (0.5 - 0.5 * 2**-0.5))
