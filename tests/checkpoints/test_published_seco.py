"""Published SeCo weights, converted: the segmentor gives the outputs recorded from the published network."""

import pytest
import torch
import torch.nn.functional as F
from published import drawn_image
from published_seco import drawn_seco, small_seco

from mmseg_wsss.checkpoints import SECO


def test_small_network_gives_the_recorded_outputs(golden):
    model, recorded = small_seco().eval(), golden('seco_small')
    images = drawn_image(1810, 2, *recorded['size'].int().tolist())
    with torch.no_grad():
        tokens = model.backbone.tokens(images)
        found = {
            'logits': model.cam_head(tokens.maps),
            'aux_logits': model.aux_cam_head(tokens.maps),
            'segmentation': model.decode_head(tokens.maps),
            'final_map': tokens.maps[-1],
            'cls_token': tokens.cls_token[:, 0],
            'projection': model.projector(tokens.cls_token[:, 0]),
            **model.raw_cams(tokens.maps),
        }
        found |= {f'multi_scale_{name}': F.avg_pool2d(cam, 4) for name, cam in model.cams(images).items()}
    assert found.keys() == recorded.keys() - {'size'}
    for name, value in found.items():
        assert (value - recorded[name]).abs().max() < 1e-3 * recorded[name].abs().max(), name
    assert model.iteration == 20_000, 'a training that goes on has all its losses'


def test_teachers_go_on_and_the_memory_is_the_published_one():
    state, model = drawn_seco(), small_seco()
    for name in ('queue', 'prototypes'):
        assert torch.equal(getattr(model.memory, name), state[name])
    assert torch.equal(model.memory.queue_tag, state['queue_label_flag'])
    assert model.memory.queue_ptr.tolist() == [48]
    # a first update would make each teacher a copy of its student
    model.teacher.update_parameters(model.backbone)
    model.projector.update()
    for key, theirs, ours in (
        ('cls_token', 'encoder', model.teacher.module.cls_token),
        ('mlp.2.bias', 'proj_head', model.projector.teacher.module.mlp[2].bias),
    ):
        teacher = {'encoder': 'encoder_k', 'proj_head': 'proj_head_t'}[theirs]
        torch.testing.assert_close(ours, 0.999 * state[f'{teacher}.{key}'] + 0.001 * state[f'{theirs}.{key}'])


def test_the_way_back_loses_the_layer_that_is_not_used_alone():
    state = drawn_seco()
    back = SECO.to_theirs(SECO.to_ours(state))
    assert back.keys() == state.keys()
    lost = {key for key in state if not torch.equal(back[key], state[key])}
    assert lost == {f'{head}.last_layer.weight_{part}' for head in ('proj_head', 'proj_head_t') for part in 'gv'}
    assert {key: tuple(back[key].shape) for key in lost} == {key: tuple(state[key].shape) for key in lost}


def test_what_is_missing_is_named():
    state = drawn_seco()
    del state['queue_ptr'], state['encoder_k.norm.bias']
    with pytest.raises(ValueError, match=r'published SeCo under their names:\n  2 missing: .*encoder_k.norm.bias.*ptr'):
        SECO.to_ours(state)
