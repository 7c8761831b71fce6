"""Published MoRe weights, converted: the segmentor gives the outputs recorded from the published network."""

import pytest
import torch
import torch.nn.functional as F
from published import drawn_image, published_weights
from published_more import small_more

from mmseg_wsss.checkpoints import MORE


@pytest.mark.parametrize('size', ['64x64', '96x128'])
def test_small_network_gives_the_recorded_outputs(golden, size):
    model, recorded = small_more().eval(), golden(f'more_small_{size}')
    images = drawn_image(1810, 2, *recorded['size'].int().tolist())
    with torch.no_grad():
        tokens = model.backbone.tokens(images)
        found = {
            'logits': model.cam_head(tokens.maps),
            'aux_logits': model.aux_cam_head(tokens.maps),
            'segmentation': model.decode_head(tokens.maps),
            'final_map': tokens.maps[-1],
            'class_tokens': model.class_tokens(tokens),
            'class_tokens_without_graph': tokens.cls_token,
        }
        cams = model.cams(images)
        model.cam_scales = (1.0, 0.5, 1.5)  # published ``lam`` has fewer scales than the others
        cams['lam'] = model.cams(images)['lam']
    assert list(cams) == ['cam', 'cam_aux', 'lam']
    found |= {f'multi_scale_{name}': F.avg_pool2d(cam, 4) for name, cam in cams.items()}
    # scores of class tokens and patches are recorded too; nothing uses them
    assert found.keys() == recorded.keys() - {'size', 'score_maps'}
    for name, value in found.items():
        assert (value - recorded[name]).abs().max() < 1e-3 * recorded[name].abs().max(), name
    assert model.iteration == 20_000, 'a training that goes on has all its losses'
    head = model.decode_head
    layers = (head.convs[0].conv, head.convs[1].conv, head.conv_seg)
    assert not any(layer.bias.any() for layer in layers), 'the published decoder has no biases'


def test_the_way_back_loses_what_is_not_used_alone():
    state = published_weights('more_small')
    back = MORE.to_theirs(MORE.to_ours(state))
    assert back.keys() == state.keys()
    unused = {key for key in state if 'encoder.head.' in key or '._fc1.' in key}
    assert {key for key in state if not torch.equal(back[key], state[key])} == unused
    assert not any(back[key].any() for key in unused)
    assert {tuple(back[key].shape) for key in unused} == {(1000, 48), (1000,), (48, 48), (48,)}


def test_what_is_missing_is_named():
    state = published_weights('more_small')
    del state['graph_layer.linear2.bias'], state['graph_layer._fc1.0.bias']  # the second is not needed
    with pytest.raises(ValueError, match=r'published MoRe under their names:\n  1 missing: graph_layer.linear2.bias$'):
        MORE.to_ours(state)
