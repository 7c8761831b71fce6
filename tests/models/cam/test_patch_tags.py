import pytest
import torch

from mmseg_wsss.models.cam import MIXED, cam_to_label, patch_tags, sample_corners, valid_mask


def region_of(recorded):
    cams = recorded['cams'] * recorded['image_labels'][:, :, None, None]
    low, high = recorded['thresholds'].tolist()
    valid = valid_mask(recorded['boxes'].int().tolist(), cams.shape[-2:], cams.device)
    return torch.where(valid, cam_to_label(cams, low=low, high=high), 0), valid


def test_recorded_region_map(golden):
    recorded = golden('seco_tags')
    region, valid = region_of(recorded)
    published = torch.where(region == 255, -1, region)
    assert torch.equal(torch.where(valid, published, 255), recorded['roi'].long())
    plain = torch.where(valid, region, 255)
    assert torch.equal(plain, recorded['pseudo_label'].long())


def test_recorded_tags(golden):
    recorded = golden('seco_tags')
    region, _ = region_of(recorded)
    corners, size = recorded['corners'].long(), int(recorded['crop_size'])
    whole, patches = patch_tags(region, corners, size, threshold=recorded['tag_threshold'].item(), as_published=True)
    assert torch.equal(whole[:, None].expand(-1, 2), recorded['flags'][:, :2].long())
    assert torch.equal(patches, recorded['flags'][:, 2:].long())
    unsure = region == 255
    for image in (0, 1, 3, 5):
        middle = corners[image] + size // 2
        assert unsure[image, middle[:, 0], middle[:, 1]].all(), 'drawn where it is uncertain'
        drawn = sample_corners(unsure, num=5, size=size)[image] + size // 2
        assert unsure[image, drawn[:, 0], drawn[:, 1]].all()


CORNERS = torch.tensor([[[0, 0], [0, 10]]])


def region(left: dict, right: dict) -> torch.Tensor:
    """Two patches of 10 x 10 side by side; value -> how many pixels of each have it."""
    halves = []
    for counts in (left, right):
        values = [value for value, count in counts.items() for _ in range(count)]
        halves.append(torch.tensor(values + [0] * (100 - len(values))).view(10, 10))
    return torch.cat(halves, dim=1)[None]


@pytest.mark.parametrize(
    ('left', 'right', 'whole', 'patches'),
    [
        ({2: 21}, {}, 2, [2, 0]),
        ({2: 20}, {}, 2, [0, 0]),  # a fifth is background still
        ({2: 1, 255: 20}, {255: 30}, 2, [2, 2]),  # what is uncertain counts, and as the only class
        ({2: 30}, {5: 30}, MIXED, [2, 5]),
        ({2: 30, 5: 1}, {255: 30}, MIXED, [MIXED, MIXED]),  # two classes; none for certain
        ({2: 30, 5: 1}, {255: 20, 5: 1}, MIXED, [MIXED, 5]),
        ({255: 30}, {255: 20}, MIXED, [MIXED, 0]),  # no class anywhere
        ({}, {}, MIXED, [0, 0]),
    ],
)
def test_tags_by_hand(left, right, whole, patches):
    found = patch_tags(region(left, right), CORNERS, 10)
    assert [found[0].tolist(), found[1].tolist()] == [[whole], [patches]]


def test_published_tags_weigh_classes_by_their_number():
    """One pixel in a hundred of class 21 exceeds the share that class 1 reaches with 20 of them."""
    for number, count, fault in ((21, 1, 21), (20, 1, 0), (1, 20, 0), (1, 21, 1)):
        args = region({number: count}, {}), CORNERS, 10
        assert patch_tags(*args, as_published=True)[1].tolist() == [[fault, 0]], number
        assert patch_tags(*args)[1].tolist() == [[number if count > 20 else 0, 0]]


def test_published_images_without_a_class_have_the_first():
    args = region({255: 30}, {}), CORNERS, 10
    assert patch_tags(*args, as_published=True)[0].tolist() == [1]
    assert patch_tags(*args)[0].tolist() == [MIXED]


def test_threshold_of_the_share():
    args = region({3: 21}, {3: 30}), CORNERS, 10
    assert patch_tags(*args, threshold=0.25)[1].tolist() == [[0, 3]]
