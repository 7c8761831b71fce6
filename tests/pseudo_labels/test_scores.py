"""Scorer: what it refuses, and which classes compete."""

import numpy as np
import pytest
import torch
from colour_net import ColourCAM, ColourSegmentor  # noqa: F401  registers them
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_wsss.pseudo_labels import Scorer, choose_source
from mmseg_wsss.structures import set_image_label


class Fixed(nn.Module):
    """Answers with these fields; keeps the samples that it was given."""

    def __init__(self, **fields):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.fields = fields

    def test_step(self, data):
        self.given = data['data_samples']
        sample = SegDataSample(metainfo={'img_path': 'a.png', 'cam_names': ('cam', 'other')})
        for name, value in self.fields.items():
            sample.set_data({name: PixelData(data=value)})
        return [sample]


def item(label=None, classes=3):
    sample = SegDataSample(metainfo={'img_path': 'a.png'})
    return {'data_samples': sample if label is None else set_image_label(sample, label, classes)}


CAM = torch.tensor([0.9, 0.2, 0.4])[:, None, None].expand(3, 2, 2)


def test_masked_cams_compete_with_the_threshold():
    model = Fixed(cam=CAM)
    ids, scores = Scorer(model, source='cam', mask_by_labels=True)(item([1, 2]), 0.3)
    assert ids.dtype == np.uint8
    assert ids.tolist() == [0, 2, 3]
    np.testing.assert_allclose(scores[:, 0, 0], [0.3, 0.2, 0.4], rtol=1e-6)
    assert model.given[0].gt_score.tolist() == [0, 1, 1], 'CLIPCAM needs them'
    ids, scores = Scorer(model, source='cam', mask_by_labels=False)(item([1, 2]), 0.3)
    assert ids.tolist() == [0, 1, 2, 3]
    assert 'gt_score' not in model.given[0], 'no network masks by itself'
    np.testing.assert_allclose(scores[:, 1, 0], [0.3, 0.9, 0.2, 0.4], rtol=1e-6)


def test_an_image_without_tags_is_background():
    ids, scores = Scorer(Fixed(cam=CAM), source='cam', mask_by_labels=True)(item([]), 0.3)
    assert (ids.tolist(), scores.shape) == ([0], (1, 2, 2))


def test_probabilities_of_absent_classes_are_left_out():
    logits = torch.tensor([0.0, 5.0, 1.0, 2.0])[:, None, None].expand(4, 2, 2)
    ids, scores = Scorer(Fixed(seg_logits=logits), source='seg', mask_by_labels=True)(item([1, 2]), None)
    assert ids.tolist() == [0, 2, 3]
    np.testing.assert_allclose(scores[:, 0, 0], logits.softmax(0)[[0, 2, 3], 0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ('fields', 'sample', 'source', 'message'),
    [
        (
            {'cam': CAM},
            item(),
            'cam',
            r'a\.png has no image-level label to mask its classes with: use ImageTagDataset.*--all-classes',
        ),
        ({'cam': CAM}, item([1], classes=5), 'cam', r'a\.png: the image-level label is over 5 classes, the network'),
        ({'seg_logits': CAM}, item([1]), 'seg', 'over 3 classes, the network over 2'),
        ({'cam': CAM * float('nan')}, item([1]), 'cam', r'a\.png: the network gives scores that are not finite'),
        ({'cam': CAM}, item([1]), 'seg', r'the network gives no seg_logits: .* \(--source cam\)'),
    ],
)
def test_what_is_refused(fields, sample, source, message):
    with pytest.raises(ValueError, match=message):
        Scorer(Fixed(**fields), source=source, mask_by_labels=True)(sample, 0.5)


def test_source_follows_the_network():
    init_default_scope('mmseg')
    assert choose_source({'type': 'ColourCAM'}) == 'cam'
    assert choose_source({'type': 'ColourCAM'}, 'seg') == 'seg'
    assert choose_source({'type': 'ColourSegmentor'}) == 'seg'
    assert choose_source({'type': 'ToCo'}) == choose_source({'type': 'WeakTr'}) == 'cam'
    assert choose_source({'type': 'EncoderDecoder'}) == 'seg'
    with pytest.raises(ValueError, match='EncoderDecoder has no CAMs'):
        choose_source({'type': 'EncoderDecoder'}, 'cam')


def test_one_channel_is_no_background_everywhere():
    model = Fixed(seg_logits=torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match=r'a\.png: the seg_logits have one channel, .* with out_channels=2'):
        Scorer(model, source='seg', mask_by_labels=False)(item(), None)
