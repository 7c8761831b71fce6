"""MeanSoftmaxTTA against mmseg's own model and by hand."""

import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn


class Stub(nn.Module):
    out_channels = 4

    def test_step(self, data):
        raise AssertionError('samples are merged directly')


def samples(count: int) -> list[SegDataSample]:
    result = []
    for index in range(count):
        one = SegDataSample(metainfo=dict(img_shape=(5 + index // 2, 6), img_path='a.png'))
        one.seg_logits = PixelData(data=3 * torch.randn(4, 5, 6))
        result.append(one)
    return result


def test_the_mean_of_the_softmax_decides_as_in_mmseg():
    views = samples(6)
    mean = torch.stack([view.seg_logits.data.softmax(dim=0) for view in views]).mean(dim=0)
    assert (mean.argmax(0) != sum(view.seg_logits.data for view in views).argmax(0)).any()
    expected = SegTTAModel(module=Stub()).merge_preds([[view.clone() for view in views]])[0]
    merged = MODELS.build(dict(type='MeanSoftmaxTTA', module=Stub())).merge_preds([views])[0]
    torch.testing.assert_close(merged.seg_logits.data.exp(), mean)
    torch.testing.assert_close(merged.seg_logits.data.softmax(dim=0), mean)
    assert torch.equal(merged.pred_sem_seg.data[0], expected.pred_sem_seg.data[0])


def test_a_class_of_probability_zero_stays_finite():
    one = samples(1)[0]
    one.seg_logits.data[0] = -1e4
    merged = MODELS.build(dict(type='MeanSoftmaxTTA', module=Stub())).merge_preds([[one]])[0]
    assert torch.isfinite(merged.seg_logits.data).all()
    assert merged.seg_logits.data.softmax(dim=0)[0].max() < 1e-30
