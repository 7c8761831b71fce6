"""The contract's own parts, with a segmentor that has nothing else."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_wsss.models.segmentors.base import CAMSegmentor, StartedLosses
from mmseg_wsss.structures import most_classes, set_image_label


class Bare(CAMSegmentor, StartedLosses, nn.Module):
    """Two modules: one is trained by a loss of its own."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)
        self.head.bias.requires_grad_(False)
        self.trains['loss_own'] = ('head',)


@pytest.mark.parametrize('threshold', [-0.1, 1.0, 1.5])
def test_a_background_threshold_is_in_the_range_of_a_cam(threshold):
    with pytest.raises(ValueError, match=rf'background_threshold must be in \[0, 1\), got {threshold}'):
        Bare(background_threshold=threshold)


def test_the_threshold_is_a_channel_in_front():
    assert Bare().background_threshold == 0.5
    assert Bare(background_threshold=0).background_threshold == 0
    cam = torch.tensor([0.2, 0.9]).view(2, 1, 1)
    assert Bare(background_threshold=0.25).with_background(cam).flatten().tolist() == [0.25, *cam.flatten().tolist()]


def test_cams_go_into_the_samples_with_their_names_and_the_threshold():
    samples = [SegDataSample(), SegDataSample()]
    cams = {'late': torch.rand(2, 3, 4, 4), 'early': torch.rand(2, 3, 4, 4)}
    Bare(background_threshold=0.25).add_cams(samples, cams)
    for index, sample in enumerate(samples):
        assert (sample.cam_names, sample.background_threshold) == (('late', 'early'), 0.25)
        for name, maps in cams.items():
            assert torch.equal(sample.get(name).data, maps[index])


def test_a_method_defines_its_cams():
    with pytest.raises(NotImplementedError, match=r'Bare defines no cams\(\)'):
        Bare().cams(torch.zeros(1, 3, 8, 8))
    with pytest.raises(NotImplementedError, match=r'Bare defines no tag_scores\(\)'):
        Bare().tag_scores(torch.zeros(1, 3, 8, 8))


def test_views_by_name():
    model, image = Bare(), torch.zeros(1)
    assert model.named_views(image) == {'img': image}
    model.views = ('near', 'far')
    with pytest.raises(ValueError, match=r"the loss needs near and far beside \['img'\]: add them to MultiView"):
        model.named_views(image)
    views = dict(img=image, near=image, far=image)
    assert model.named_views(views) is views


def test_cams_of_present_classes_at_the_original_size():
    """Two of four columns are padding; without image-level labels all classes stay, without samples all pixels."""
    model = Bare()
    model.align_corners, model.decode_head = False, None
    seen = []

    def postprocess_result(logits, samples):  # as mmseg's: without the padding
        seen.append(logits)
        for sample, one in zip(samples, logits, strict=True):
            sample.seg_logits = PixelData(data=one[..., :2])
        return samples

    model.postprocess_result = postprocess_result
    cams = {'cam': torch.rand(2, 3, 2, 4)}
    labelled, plain = SegDataSample(), SegDataSample()
    labelled.gt_score = torch.tensor([1.0, 0.0, 1.0])
    first, second = model.original_cams(cams, [labelled, plain])['cam']
    assert seen[0].shape == (2, 4, 2, 4)
    assert torch.equal(first, cams['cam'][0, :, :, :2] * labelled.gt_score[:, None, None])
    assert torch.equal(second, cams['cam'][1, :, :, :2])
    assert 'seg_logits' not in labelled, 'a copy was given to mmseg'
    assert torch.equal(torch.stack(model.original_cams(cams, None)['cam']), cams['cam'])


def test_starts():
    model = Bare()
    assert (model.starts, model.iteration) == ({}, 0)
    model.set_starts(dict(loss_own=2), ('loss_own', 'other'))
    assert model.starts == dict(loss_own=2, other=0)
    model.set_starts(dict(loss_own=0), ('loss_own',))
    assert model.has_begun('loss_own')
    for starts in (dict(loss_own=-1), dict(unknown=3)):
        name, start = next(iter(starts.items()))
        with pytest.raises(ValueError, match=f'starts has {name}={start}; it takes iterations from 0 for loss_own'):
            model.set_starts(starts, ('loss_own',))


def test_what_waits_has_a_gradient_of_zero_and_the_counter_is_saved():
    model = Bare()
    model.set_starts(dict(loss_own=2), ('loss_own',))
    for iteration, begun in ((0, set()), (1, set()), (2, {'loss_own'}), (3, {'loss_own'})):
        model.iteration = iteration
        assert model.begun() == begun
        assert bool(model.not_begun()) == (not begun)
    model.iteration = 1
    with torch.no_grad():
        model.head.weight.fill_(3e38)  # the sum overflows nothing: 0 times it is 0
        model.head.weight[0, 1] = 0
    losses = model.not_begun()
    assert losses.keys() == {'loss_not_begun'}
    assert losses['loss_not_begun'].item() == 0
    losses['loss_not_begun'].backward()
    assert model.head.weight.grad.tolist() == [[0.0, 0.0]]
    assert model.head.bias.grad is None, 'it is frozen'
    assert model.body.weight.grad is None, 'it learns by other losses'
    other = Bare()
    other.load_state_dict(model.state_dict())
    assert other.iteration == 1


def test_the_most_classes_of_an_image():
    """By the list of labels where there is one; a score alone may have all classes present."""

    def sample(label):
        return set_image_label(SegDataSample(), label, 6)

    assert most_classes([sample([]), sample([0, 3, 5]), sample([1])]) == 3
    assert most_classes([sample([])]) == 1, 'never none'
    scored = SegDataSample()
    scored.gt_score = torch.tensor([0.0, 1, 0, 0])
    assert most_classes([scored, sample([0])]) == 4
