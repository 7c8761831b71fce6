"""The configs of the published second stages train as the code of WeakTr does (its folder OnlineRetraining)."""

import copy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS
from torch import nn

from mmseg_wsss.checkpoints import WEAKTR_SEG

CONFIGS = Path(__file__).parents[1] / 'configs' / 'weaktr'
VOC = 'weaktr-seg_deit-s16_1xb4-100e_voc12aug-480x480'
VIT = 'weaktr-seg_vit-s16-augreg-384_1xb4-100e_voc12aug-480x480'
COCO = 'weaktr-seg_deit-s16_1xb4-10e_coco14-480x480'
FULLY = (
    'fully_segmenter_deit-s16_1xb4-100e_voc12aug-480x480',
    'fully_segmenter_vit-s16-augreg-384_1xb4-100e_voc12aug-480x480',
)
PUBLISHED = (VOC, VIT, COCO, *FULLY)
TINY = dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96)


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


@pytest.fixture(params=PUBLISHED)
def cfg(request) -> Config:
    init_default_scope('mmseg')
    return copy.deepcopy(parsed(request.param))


def tiny_model(cfg: Config, **backbone) -> nn.Module:
    """The config's network, narrow and with two blocks; the grid of tokens is the config's."""
    cfg.model.backbone.update(arch=TINY, init_cfg=None, **backbone)
    cfg.model.decode_head.update(in_channels=48, channels=48, embed_dims=48, num_heads=3)
    return MODELS.build(cfg.model)


def test_nesterov_momentum(cfg):
    """v = 0.9 v + g, then w -= rate (g + 0.9 v); the encoder has a tenth of the rate."""
    model = tiny_model(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    weights = dict(model.named_parameters())
    expected = {name: weight.detach().double() for name, weight in weights.items()}
    speed = {name: torch.zeros_like(value) for name, value in expected.items()}
    for _ in range(4):
        for name, weight in weights.items():
            weight.grad = torch.randn_like(weight)
            gradient = weight.grad.double()
            speed[name] = 0.9 * speed[name] + gradient
            rate = 1e-5 if name.startswith('backbone.') else 1e-4
            expected[name] = expected[name] - rate * (gradient + 0.9 * speed[name])
        wrapper.optimizer.step()
    for name, weight in weights.items():
        torch.testing.assert_close(weight.detach().double(), expected[name], rtol=0, atol=1e-6, msg=name)


def test_rates_of_encoder_and_decoder(cfg):
    """One polynomial from 1e-4 to 1e-5, times 0.1 for the encoder, which therefore ends at 1e-6."""
    model = tiny_model(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    total = cfg.train_cfg.max_iters
    (settings,) = cfg.param_scheduler
    scheduler = PARAM_SCHEDULERS.build(settings, default_args=dict(optimizer=wrapper))
    names = {id(weight): name for name, weight in model.named_parameters()}
    for step in (0, 1, total // 2, total - 1):
        if step:
            scheduler.last_step = step - 1
            scheduler.step()
        shared = (1e-4 - 1e-5) * (1 - step / total) ** 0.9 + 1e-5
        for group in wrapper.optimizer.param_groups:
            for weight in group['params']:
                scale = 0.1 if names[id(weight)].startswith('backbone.') else 1.0
                assert group['lr'] == pytest.approx(scale * shared, rel=1e-9), (step, names[id(weight)])
    assert min(group['lr'] for group in wrapper.optimizer.param_groups) == pytest.approx(1e-6, rel=1e-3)


def test_iterations():
    """100 epochs of ceil(10582 / 4) batches; the last, smaller batch of an epoch counts."""
    assert parsed(VOC).train_cfg.max_iters == 100 * -(-10582 // 4) == 264600


def test_random_resize_is_relative_to_a_shorter_side_of_520(cfg):
    """Factor r in [0.5, 2): the shorter side is 520 r unless the longer one would exceed 4160 r."""
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    resize = TRANSFORMS.build(steps['RandomResize'])
    for seed, (height, width) in enumerate([(375, 500), (500, 333), (366, 500), (40, 600)]):
        results = dict(img=np.zeros((height, width, 3), np.uint8), img_shape=(height, width))
        np.random.seed(seed)
        shape = resize(results)['img'].shape[:2]
        np.random.seed(seed)
        ratio = np.random.random_sample() * 1.5 + 0.5
        factor = min(int(4160 * ratio) / max(height, width), int(520 * ratio) / min(height, width))
        assert shape == (int(height * factor + 0.5), int(width * factor + 0.5))


def test_augmentation_and_padding(cfg):
    kinds = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert kinds[2:] == [
        'LoadGroundTruth', 'RandomResize', 'RandomMixedCrop', 'RandomFlip', 'PhotoMetricDistortion', 'PackWSSSInputs',
    ]  # fmt: skip
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandomMixedCrop'] == dict(type='RandomMixedCrop', crop_size=(480, 480), cat_max_ratio=0.75)
    assert steps['RandomFlip'].prob == 0.5
    assert len(steps['PhotoMetricDistortion']) == 1, 'the defaults of mmseg'
    own = cfg.model.data_preprocessor
    assert (own.size, own.pad_val, own.seg_pad_val, own.bgr_to_rgb) == ((480, 480), 0, 255, True)
    vit = 'vit-s16' in cfg.filename
    mean, std = ([127.5] * 3, [127.5] * 3) if vit else ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert (own.mean, own.std) == (mean, std)
    assert cfg.train_dataloader.batch_size == 4


@pytest.mark.parametrize('name', PUBLISHED)
def test_loss(name):
    loss = parsed(name).model.decode_head.loss_decode
    if name in FULLY:
        assert loss == dict(type='CrossEntropyLoss')
        return
    # VOC: one process with all four images, whose loss maps are averaged. COCO: four processes with one image each.
    expected = dict(type='GradientClippedCrossEntropy', start_value=1.2, patch_size=120, batch_threshold=name != COCO)
    assert dict(batch_threshold=False) | loss == expected


def test_dropout_of_the_decoder_and_drop_path_of_the_encoder(cfg):
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    head = model.decode_head
    assert len(head.layers) == 2
    for layer in head.layers:
        assert layer.attn.attn.dropout == 0.1
        rates = [part.p for part in layer.modules() if isinstance(part, nn.Dropout) and part.p]
        assert rates == [0.1] * 3, 'after the projection, after the activation and after the feed-forward network'
    assert not any(isinstance(part, DropPath) and part.drop_prob for part in head.modules())
    assert head.dropout is None, 'none before the classes'

    assert all(part.p == 0 for part in model.backbone.modules() if isinstance(part, nn.Dropout))
    assert all(layer.attn.attn_drop == 0 for layer in model.backbone.layers)
    for index, layer in enumerate(model.backbone.layers):
        for path in (layer.attn.out_drop, layer.ffn.dropout_layer):
            assert getattr(path, 'drop_prob', 0.0) == pytest.approx(0.1 * index / 11), index
    assert {part.eps for part in model.modules() if isinstance(part, nn.LayerNorm)} == {1e-5}


def test_dropout_acts_where_the_published_block_has_it(cfg):
    """A block of the decoder against its formula, with the same draws of one image."""
    model = tiny_model(cfg)
    block = model.decode_head.layers[1].train()
    x = torch.randn(1, 30, 48)

    torch.manual_seed(5)
    found = block(x)

    torch.manual_seed(5)
    heads, depth = 3, 16
    attention = block.attn.attn
    y = F.layer_norm(x, (48,), block.norm1.weight, block.norm1.bias, 1e-5)
    qkv = F.linear(y, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = qkv.reshape(1, 30, 3, heads, depth).permute(2, 0, 3, 1, 4)
    weights = F.dropout((query @ key.transpose(-2, -1) / depth**0.5).softmax(dim=-1), 0.1)
    y = (weights @ value).transpose(1, 2).reshape(1, 30, 48)
    y = x + F.dropout(F.linear(y, attention.out_proj.weight, attention.out_proj.bias), 0.1)
    first, second = block.ffn.layers[0][0], block.ffn.layers[1]
    z = F.layer_norm(y, (48,), block.norm2.weight, block.norm2.bias, 1e-5)
    z = F.dropout(F.gelu(F.linear(z, first.weight, first.bias)), 0.1)
    expected = y + F.dropout(F.linear(z, second.weight, second.bias), 0.1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_initial_weights_of_the_decoder(cfg):
    """Linear layers, that of query, key and value among them, have deviation 0.02; the last two matrices D^-0.5."""
    model = tiny_model(cfg)
    model.decode_head.init_weights()
    for name, weight in model.decode_head.named_parameters():
        if weight.ndim == 1:
            assert weight.eq(1.0 if name.endswith('weight') else 0.0).all(), name  # norms and biases
        else:
            expected = 48**-0.5 if name in ('patch_proj.weight', 'classes_proj.weight') else 0.02
            assert weight.std().item() == pytest.approx(expected, rel=0.1), name


@pytest.mark.parametrize(
    ('name', 'side', 'mode'), [(VOC, 14, 'bilinear'), (COCO, 14, 'bilinear'), (VIT, 24, 'bicubic')]
)
def test_the_position_embedding_is_resized_once_to_the_grid_of_the_crop(name, side, mode):
    init_default_scope('mmseg')
    backbone = tiny_model(copy.deepcopy(parsed(name))).backbone
    assert backbone.pos_embed.shape == (1, 1 + 30 * 30, 48)
    state = backbone.state_dict()
    state['pos_embed'] = torch.randn(1, 1 + side * side, 48)
    pretrained = state['pos_embed'].clone()
    backbone.load_state_dict(state)
    grid = pretrained[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    expected = F.interpolate(grid, size=(30, 30), mode=mode, align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(backbone.pos_embed[:, 1:], expected)
    assert torch.equal(backbone.pos_embed[:, :1], pretrained[:, :1])


def test_a_published_checkpoint_keeps_its_position_embedding(cfg):
    model = tiny_model(cfg)
    ours = {key: torch.randn_like(value) for key, value in model.state_dict().items() if value.is_floating_point()}
    published = WEAKTR_SEG.to_theirs(ours)
    assert published['encoder.pos_embed'].shape == (1, 901, 48)
    model.load_state_dict(WEAKTR_SEG.to_ours(published))
    assert torch.equal(model.backbone.pos_embed, published['encoder.pos_embed'])
