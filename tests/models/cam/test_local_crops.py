import pytest
import torch

from mmseg_wsss.models.cam import cam_to_roi, cut_crops, is_positive, sample_corners


def centres(corners, size):
    return corners + size // 2


def test_centres_avoid_foreground_and_are_distinct():
    roi = torch.full((2, 20, 24), 2)
    roi[0, 5:9, 6:10] = 0  # 16 candidates
    roi[1, 10:12, 12:17] = 1  # 10 candidates
    for _ in range(20):
        corners = sample_corners(roi != 2, num=8, size=6)
        middle = centres(corners, 6)
        for b in range(2):
            assert len({tuple(c) for c in corners[b].tolist()}) == 8
            assert all(roi[b, y, x] != 2 for y, x in middle[b].tolist())


def test_crops_stay_inside_and_reach_every_candidate():
    roi = torch.zeros(1, 8, 9, dtype=torch.long)
    seen = set()
    for _ in range(60):
        corners = sample_corners(roi != 2, num=4, size=6)[0]
        assert corners.min() >= 0
        assert (corners + 6 <= torch.tensor([8, 9])).all()
        seen |= {tuple(c) for c in corners.tolist()}
    assert seen == {(y, x) for y in range(2) for x in range(3)}


def test_too_few_candidates_means_anywhere():
    roi = torch.full((1, 12, 12), 2)
    roi[0, 6, 6] = 0
    corners = torch.cat([sample_corners(roi != 2, num=5, size=4) for _ in range(30)])
    assert len({tuple(c) for c in corners.flatten(0, 1).tolist()}) > 40  # of 64 positions


def test_exactly_enough_candidates_are_all_taken():
    roi = torch.full((1, 12, 12), 2)
    roi[0, 4:6, 5:7] = 0
    corners = sample_corners(roi != 2, num=4, size=4)
    assert sorted(centres(corners, 4)[0].tolist()) == [[4, 5], [4, 6], [5, 5], [5, 6]]


def test_one_candidate_too_few_is_used_like_any_other_position():
    roi = torch.full((1, 12, 12), 2)
    roi[0, 4, 5:7] = roi[0, 5, 5] = 0
    drawn = [sample_corners(roi != 2, num=4, size=4)[0].tolist() for _ in range(30)]
    assert not all([2, 3] in each for each in drawn), 'centre (4, 5), a candidate, is drawn each time'


@pytest.mark.parametrize(('roi', 'num', 'size'), [((6, 5), 2, 4), ((5, 6), 2, 4), ((5, 5), 1, 4)])
def test_crops_that_just_fit_fill_all_positions(roi, num, size):
    corners = sample_corners(torch.ones(1, *roi, dtype=torch.bool), num=num, size=size)
    assert sorted(corners[0].tolist()) == [[y, x] for y in range(roi[0] - 4) for x in range(roi[1] - 4)]


@pytest.mark.parametrize(('roi', 'num'), [((17, 17), 2), ((15, 40), 1), ((40, 15), 1), ((17, 18), 3)])
def test_crops_that_do_not_fit_are_refused(roi, num):
    with pytest.raises(ValueError, match=f'{num} local crops of 16 px do not fit into {roi[0]}x{roi[1]} px'):
        sample_corners(torch.ones(1, *roi, dtype=torch.bool), num=num, size=16)


def test_cut_crops_are_slices():
    images = torch.arange(2 * 3 * 6 * 7).view(2, 3, 6, 7)
    corners = torch.tensor([[[0, 0], [2, 3]], [[1, 2], [3, 4]]])
    crops = cut_crops(images, corners, 3)
    for b in range(2):
        for k in range(2):
            y, x = corners[b, k]
            assert torch.equal(crops[b, k], images[b, :, y : y + 3, x : x + 3])
    assert torch.equal(cut_crops(images[:, 0], corners, 3), crops[:, :, 0])


def test_positive_means_a_mean_roi_above_a_fifth():
    crops = torch.zeros(1, 3, 2, 5, dtype=torch.long)
    crops[0, 0, 0, 0] = 2  # mean 0.2
    crops[0, 1, 0, 0], crops[0, 1, 1, 1] = 2, 1  # mean 0.3
    assert is_positive(crops).tolist() == [[False, True, False]]


def test_roi_thresholds():
    cam = torch.tensor([[0.25, 0.26, 0.69, 0.7, 0.1], [0.0, 0.0, 0.0, 0.0, 0.9]]).view(1, 2, 1, 5)
    assert cam_to_roi(cam, low=0.25, high=0.7).tolist() == [[[0, 1, 1, 2, 2]]]
