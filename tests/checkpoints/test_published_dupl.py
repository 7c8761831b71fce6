"""Published DuPL weights, converted: the network of the shipped config gives the recorded outputs."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from published import drawn_image, published_weights

from mmseg_wsss.checkpoints import DUPL, LAYOUTS

ROOT = Path(__file__).parents[2]


@torch.no_grad()
def test_shipped_network_gives_the_recorded_outputs(golden):
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs/_base_/models/dupl_deit-b16.py').model
    arch = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)
    config.backbone.update(arch=arch, img_size=64, out_indices=(1, 3))
    config.num_classes = 6
    model, recorded = MODELS.build(config).eval(), golden('dupl_small')
    model.load_state_dict(DUPL.to_ours(published_weights('dupl_small')))
    assert model.iteration == 20_000, 'a training that goes on has all its losses'
    images = drawn_image(1810, 2, 96, 128)
    for number, branch in enumerate(model.branches, 1):
        maps = branch.backbone(images)
        for found, name in ((branch.cam_head(maps), 'logits'), (branch.decode_head(maps), 'segmentation')):
            torch.testing.assert_close(found, recorded[f'{name}_{number}'], rtol=1e-3, atol=1e-5)


def test_there_and_back():
    state = published_weights('dupl_small')
    back = LAYOUTS['dupl'].to_theirs(LAYOUTS['dupl'].to_ours(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_what_cannot_be_converted_is_named():
    state = published_weights('dupl_small')
    ours = DUPL.to_ours(state)
    ours['branch2.decode_head.conv_seg.bias'] += 1e-2
    with pytest.raises(ValueError, match=r'cannot have: branch2.decode_head.conv_seg.bias is not 0.0'):
        DUPL.to_theirs(ours)
    state['branch3.classifier.weight'] = state.pop('branch2.classifier.weight')
    with pytest.raises(ValueError, match='not the weights of published DuPL under their names') as error:
        DUPL.to_ours(state)
    for part in ('1 missing: branch2.classifier.weight', '1 unknown: branch3.classifier.weight'):
        assert re.search(re.escape(part), str(error.value))
