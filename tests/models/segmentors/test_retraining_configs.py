"""The shipped second stages on the animals, one per decode head, with random weights and small images."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CONFIGS = Path(__file__).parents[3] / 'configs' / 'weaktr'
HEADS = {'': 'MaskTransformerHead', '-fcn': 'FCNHead', '-segformer': 'SegformerHead', '-upernet': 'UPerHead'}


@pytest.fixture(params=HEADS)
def model(request):
    cfg = Config.fromfile(CONFIGS / f'weaktr-seg_deit-t16{request.param}_1xb8-1.5k_voc12-animals-256x256.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(init_cfg=None, drop_path_rate=0.0)
    loss = cfg.model.decode_head.loss_decode
    assert (loss.type, loss.patch_size, loss.start_value) == ('GradientClippedCrossEntropy', 64, 1.2)
    loss.start_value = 10.0  # clip from the first step on
    model = MODELS.build(cfg.model)
    assert type(model.decode_head).__name__ == HEADS[request.param]
    model.init_weights()
    return model.train()


def batch() -> tuple[torch.Tensor, list[SegDataSample]]:
    """Two images of 128 pixels whose left half is cat and bright; a square of wrong labels in the right one."""
    images, samples = 0.3 * torch.randn(2, 3, 128, 128), []
    images[..., :64] += 1.5
    for _ in range(2):
        ground_truth = torch.zeros(1, 128, 128, dtype=torch.long)
        ground_truth[..., :64] = 1
        pseudo = ground_truth.clone()
        pseudo[:, 40:80, 80:120] = 3
        sample = SegDataSample(metainfo=dict(img_shape=(128, 128)), gt_sem_seg=PixelData(data=pseudo))
        sample.set_data({'ground_truth': PixelData(data=ground_truth)})
        samples.append(sample)
    return images, samples


def test_four_steps_learn(model):
    images, samples = batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    history = []
    for _ in range(4):
        optimizer.zero_grad()
        losses = model.loss(images, samples)
        total, log = model.parse_losses(losses)
        total.backward()
        first, last = (model.backbone.layers[index].attn.qkv.weight.grad.norm().item() for index in (0, -1))
        optimizer.step()
        assert first > 0
        assert last > 0
        history.append({key: value.item() for key, value in log.items()})
    values = [step['loss'] for step in history]
    assert all(torch.isfinite(torch.tensor(values)))
    assert values[-1] < 0.9 * values[0], values
    final = history[-1]
    assert 0 < final['clip.share'] < 0.7
    # 1,600 of 16,384 pixels are labelled wrongly
    assert final['clip.precision_all'] == pytest.approx(1 - 1600 / 16384)
    assert final['clip.precision'] > 0.8, 'four steps after random weights, what is clipped need not be wrong'


def test_without_the_clipped_pixels_the_backbone_gets_another_gradient(model):
    """Under the same weights: the gradient with clipping is smaller than that of all pixels, and is not 0."""
    images, samples = batch()
    model.eval()
    norms = []
    for start_value in (10.0, 1e-6):  # clipping from the start, and never
        model.decode_head.loss_decode.start_value = start_value
        model.zero_grad()
        losses = model.loss(images, samples)
        losses['decode.loss_seg'].backward()
        norms.append(model.backbone.patch_embed.projection.weight.grad.norm().item())
        assert (losses['clip.share'] > 0) == (start_value == 10.0)
    assert 0 < norms[0] < norms[1]
