import torch

from mmseg_wsss.models.cam import PresentClasses

SCORES = torch.tensor([[0.0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]])


def test_an_images_own_classes_come_first_in_order():
    present = PresentClasses.of(SCORES, 2)
    assert present.index.tolist() == [[1, 3], [0, 1], [2, 0]]
    assert present.score.tolist() == [[1, 1], [0, 0], [1, 0]]


def test_many_classes_stay_in_order():
    scores = torch.zeros(1, 80)
    scores[0, 10:50] = 1
    assert PresentClasses.of(scores, 60).index.tolist() == [[*range(10, 50), *range(20 - 10), *range(50, 60)]]


def test_maps_are_those_of_the_present_classes_for_every_group():
    maps = torch.arange(2 * 3 * 4.0).view(6, 4, 1, 1)  # twice three images
    picked = PresentClasses.of(SCORES, 2).select(maps)
    assert picked[..., 0, 0].tolist() == [[1, 3], [4, 5], [10, 8], [13, 15], [16, 17], [22, 20]]


def test_labels_over_present_classes_become_segmentation_ids():
    label = torch.tensor([[[0, 1, 2, 255]], [[0, 0, 255, 255]], [[1, 255, 0, 1]]])
    named = PresentClasses.of(SCORES, 2).to_class(label)
    assert named.tolist() == [[[0, 2, 4, 255]], [[0, 0, 255, 255]], [[3, 255, 0, 3]]]
