"""MaxScaleTTA: merging by hand, and the pipeline of the configuration fragment."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

FRAGMENT = Path(__file__).parents[2] / 'configs' / '_base_' / 'tta.py'


class Stub(nn.Module):
    """A segmentor is not needed where samples are merged directly."""

    def test_step(self, data):
        raise AssertionError


@MODELS.register_module()
class RedLogits(EncoderDecoder):
    """A segmentor whose logits are the red channel and its negative: what comes out is what went in."""

    def __init__(self, data_preprocessor=None):
        nn.Module.__init__(self)
        self.align_corners = False
        self.data_preprocessor = MODELS.build({'type': 'SegDataPreProcessor'})

    def inference(self, inputs, batch_img_metas):
        red = inputs[:, 2:].float() - 127.5  # arrays are BGR
        return torch.cat([red, -red], dim=1)


def sample(logits, img_shape, **meta):
    logits = torch.as_tensor(logits, dtype=torch.float32)
    result = SegDataSample(metainfo=dict(img_shape=img_shape, img_path='a.png', **meta))
    result.seg_logits = PixelData(data=logits)
    result.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
    return result


def test_sum_over_flips_maximum_over_scales():
    tta = MODELS.build({'type': 'MaxScaleTTA', 'module': Stub()})
    # three classes, one row of two pixels
    first = [[[4.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]]
    first_flip = [[[-9.0, 1.0]], [[1.0, 1.0]], [[0.5, 0.5]]]
    second = [[[0.0, 0.0]], [[0.5, 0.0]], [[0.5, 2.0]]]
    second_flip = [[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.5]]]
    merged = tta.merge_preds(
        [[sample(first, (1, 2)), sample(first_flip, (1, 2)), sample(second, (2, 4)), sample(second_flip, (2, 4))]]
    )
    # by hand: sums (-5, 1), (1, 2), (1.5, 1.5) and (1, 0), (1.5, 0), (0.5, 2.5); then the larger of the two
    assert merged[0].seg_logits.data.tolist() == [[[1.0, 1.0]], [[1.5, 2.0]], [[1.5, 2.5]]]
    assert merged[0].pred_sem_seg.data.tolist() == [[[1, 2]]]


def test_one_scale_without_flip_changes_nothing():
    logits = torch.randn(4, 5, 6)
    merged = MODELS.build({'type': 'MaxScaleTTA', 'module': Stub()}).merge_preds([[sample(logits, (5, 6))]])
    assert torch.equal(merged[0].seg_logits.data, logits)
    assert torch.equal(merged[0].pred_sem_seg.data[0], logits.argmax(0))


@pytest.fixture
def picture(tmp_path):
    """An asymmetric image: red where class 0 is, with a few wrong pixels; and its mask."""
    ground_truth = np.zeros((24, 30), dtype=np.uint8)
    ground_truth[:, 18:] = 1
    ground_truth[:6] = 1
    image = np.zeros((24, 30, 3), dtype=np.uint8)
    image[ground_truth == 0] = (255, 20, 40)
    image[ground_truth == 1] = (0, 90, 160)
    Image.fromarray(image).save(tmp_path / 'image.png')
    Image.fromarray(ground_truth).save(tmp_path / 'mask.png')
    return tmp_path, ground_truth


def test_pipeline_of_the_fragment(picture):
    """All six views come back to the original geometry: a flip or resize that is not undone would show at the edge."""
    folder, ground_truth = picture
    config = Config.fromfile(FRAGMENT)
    with DefaultScope.overwrite_default_scope('mmseg'):
        tta = MODELS.build(dict(**config.tta_model, module={'type': 'RedLogits'}))
        pipeline = Compose(config.tta_pipeline)
    data = pipeline({'img_path': str(folder / 'image.png'), 'seg_map_path': str(folder / 'mask.png'), 'seg_fields': []})
    assert [tuple(image.shape[1:]) for image in data['inputs']] == [(24, 30)] * 2 + [(30, 37)] * 2 + [(36, 45)] * 2
    assert [s.flip for s in data['data_samples']] == [False, True] * 3
    merged = tta.test_step(pseudo_collate([data]))[0]
    assert np.array_equal(merged.gt_sem_seg.data[0].numpy(), ground_truth)
    assert (merged.pred_sem_seg.data[0].numpy() == ground_truth).mean() > 0.97
    assert merged.seg_logits.data.shape == (2, 24, 30)
    # scale 1 with its flip gives 2 * (red - 127.5), and the maximum over the scales is never below it
    red = torch.from_numpy(np.array(Image.open(folder / 'image.png'))[..., 0].astype(np.float32))
    assert (merged.seg_logits.data[0] >= 2 * (red - 127.5) - 1e-3).all()
