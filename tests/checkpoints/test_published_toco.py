"""Published ToCo weights, converted: the segmentor gives the outputs recorded from the published network."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from published import published_weights

from mmseg_wsss.checkpoints import TOCO

ROOT = Path(__file__).parents[2]
SMALL = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)


def drawn(name):
    """Weights of the recordings. The gains of the projectors are drawn there too; training keeps them at 1."""
    weights = published_weights(name)
    return {key: torch.ones_like(value) if key.endswith('weight_g') else value for key, value in weights.items()}


def shipped(**backbone):
    """The network of the shipped config, or a smaller one with five classes."""
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs/_base_/models/toco_vit-b16.py').model
    if backbone:
        config.backbone.update(backbone)
        config.num_classes = 5
    return MODELS.build(config).eval()


def small():
    return shipped(arch=SMALL, img_size=64, out_indices=(1, 3))


def assert_recorded(model, recorded, images, shrink=1):
    """Every recorded output, to 1e-3 relative."""
    with torch.no_grad():
        tokens = model.backbone.tokens(images)
        heads = {'': model.cam_head, '_aux': model.aux_cam_head}
        for name, head in heads.items():
            torch.testing.assert_close(head(tokens.maps), recorded[f'cls{name}'], rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(head.cams(tokens.maps), recorded[f'cam{name}'], rtol=1e-3, atol=1e-5)
        seg = model.decode_head(tokens.maps)
        cams = model.cams(images)
    torch.testing.assert_close(tokens.cls_token[:, 0], recorded['cls_token'], rtol=1e-3, atol=1e-4)
    for cam, name in zip(cams.values(), ('ms_cam', 'ms_cam_aux'), strict=True):
        torch.testing.assert_close(F.avg_pool2d(cam, shrink), recorded[name], rtol=1e-3, atol=1e-4)
    if 'seg' in recorded:
        torch.testing.assert_close(seg, recorded['seg'], rtol=1e-3, atol=1e-5)


def test_small_network_gives_the_recorded_outputs(golden):
    model, recorded = small(), golden('toco_small')
    model.load_state_dict(TOCO.to_ours(drawn('toco_small')))
    assert 'seg' in recorded
    assert_recorded(model, recorded, recorded['x'])
    assert model.iteration == 20_000, 'a training that goes on has its segmentation loss'
    head = model.decode_head
    layers = (head.convs[0].conv, head.convs[1].conv, head.conv_seg)
    assert not any(layer.bias.any() for layer in layers), 'the published decoder has no biases'


def test_vit_b_gives_the_recorded_outputs(golden):
    model = shipped()
    model.load_state_dict(TOCO.to_ours(drawn('toco_vit_b')))
    images = torch.from_numpy(np.random.RandomState(1012).randn(1, 3, 224, 288).astype(np.float32))
    assert_recorded(model, golden('toco_vit_b'), images, shrink=16)


def test_projectors_and_their_way_back():
    state = drawn('toco_small')
    model = small()
    model.load_state_dict(TOCO.to_ours(state))
    model.projector.update()  # a first update would make the teacher a copy of the trained head
    ours, last = model.projector.teacher.module, 'last_layer.weight_v'
    student, teacher = (state[f'{name}.{last}'] for name in ('proj_head', 'proj_head_t'))
    torch.testing.assert_close(ours.last_layer.weight, 0.9 * teacher + 0.1 * student)
    back = TOCO.to_theirs(TOCO.to_ours(state))
    assert back.keys() == state.keys()
    lost = {key for key in state if not torch.equal(back[key], state[key])}
    assert lost == {'encoder.head.weight', 'encoder.head.bias'}, "ImageNet's classifier, not used"


def test_what_cannot_be_converted_is_named():
    state = drawn('toco_small')
    ours = TOCO.to_ours(state)
    ours['decode_head.convs.1.conv.bias'] += 1e-2
    with pytest.raises(ValueError, match=r'published network cannot have: decode_head.convs.1.conv.bias is not 0.0'):
        TOCO.to_theirs(ours)
    state['proj_head.last_layer.weight_g'] *= 2
    state['decoder.conv9.weight'] = state.pop('decoder.conv8.weight')
    with pytest.raises(ValueError, match='not the weights of published ToCo under their names') as error:
        TOCO.to_ours(state)
    for part in (
        '1 missing: decoder.conv8.weight',
        '1 unknown: decoder.conv9.weight',
        'ours cannot have: proj_head.last_layer.weight_g is not 1.0 everywhere',
    ):
        assert re.search(re.escape(part), str(error.value))
