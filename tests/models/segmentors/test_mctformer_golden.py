"""MCTformer+ against outputs of the published network: outputs, an iteration, CAMs; CAMs of V1 and V2."""

import json

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from published import GOLDEN, drawn_image, published_weights

from mmseg_wsss.checkpoints import MCTFORMER_PLUS, WEAKTR_CAM, KeyTable
from mmseg_wsss.models.segmentors import cam_only
from mmseg_wsss.structures import set_image_label

CLASSES = 6
SMALL = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)
PLUS_SIZES = ['96x96', '64x112', '75x130', '118x118']


def build(head=None, backbone=None, **changes):
    init_default_scope('mmseg')
    vit = dict(type='TokenViT', arch=SMALL, img_size=96, final_norm=False) | (backbone or {})
    head = dict(type='MCTCAMHead') | (head or {})
    cct = dict(type='TokenIdentityLoss')
    return MODELS.build(
        dict(type='MCTformer', num_classes=CLASSES, backbone=vit, cam_head=head, loss_cct=cct) | changes
    )


def published_plus(**changes):
    model = build(**changes)
    model.load_state_dict(MCTFORMER_PLUS.to_ours(published_weights('mct_plus_small')))
    return model


def assert_near(actual, recorded):
    """1e-4 of the largest value: the noise of float32 is a hundredth of it."""
    torch.testing.assert_close(actual, recorded, rtol=0, atol=1e-4 * float(recorded.abs().max()))


def recorded_pass(model, recorded):
    images = drawn_image(1811, 2, *recorded['size'].int().tolist())
    return model.backbone.tokens(images, record=model.cam_head.record)


@pytest.mark.parametrize('size', PLUS_SIZES)
def test_logits_and_cams_of_any_size(size, golden):
    recorded, model = golden(f'mct_plus_small_{size}'), published_plus().eval()
    with torch.no_grad():
        tokens = recorded_pass(model, recorded)
        class_logits, patch_logits = model.cam_head(tokens)
        assert_near(class_logits, recorded['cls_logits'])
        assert_near(patch_logits, recorded['patch_logits'])
        assert_near(model.cam_head.fused(tokens), recorded['cam_fused'])
        assert_near(model.cam_head.cams(tokens), recorded['refined'])
        images = drawn_image(1811, 2, *recorded['size'].int().tolist())
        assert torch.equal(model(images), model.cam_head.cams(tokens))


@pytest.mark.parametrize(
    ('head', 'key'),
    [
        (dict(fusion='patch'), 'cam_patchcam'),
        (dict(fusion='class'), 'cam_mct'),
        (dict(num_blocks=2), 'cam_fused_last_2'),
    ],
    ids=str,
)
@pytest.mark.parametrize('size', PLUS_SIZES)
def test_other_fusions(size, head, key, golden):
    recorded, model = golden(f'mct_plus_small_{size}'), published_plus(head=head).eval()
    with torch.no_grad():
        assert_near(model.cam_head.fused(recorded_pass(model, recorded)), recorded[key])


def test_tokens_of_all_blocks_in_training(golden):
    recorded, model = golden('mct_plus_small_train'), published_plus().train()
    with torch.no_grad():
        tokens = model.backbone.tokens(drawn_image(1810, 2, 96, 96), record=model._class_tokens)
        class_logits, patch_logits = model.cam_head(tokens)
    assert_near(torch.stack(tokens.recorded), recorded['all_class_tokens'])
    assert_near(class_logits, recorded['cls_logits'])
    assert_near(patch_logits, recorded['patch_logits'])


def labelled(labels):
    samples = [SegDataSample() for _ in labels]
    for sample, label in zip(samples, labels, strict=True):
        set_image_label(sample, label.nonzero().flatten().tolist(), CLASSES)
    return samples


def test_one_iteration(golden):
    recorded, model = golden('mct_plus_iter'), published_plus().train()
    losses = model.loss(drawn_image(1820, 3, 96, 96), labelled(recorded['image_labels']))
    near = dict(rtol=1e-5, atol=0)
    torch.testing.assert_close(losses['loss_token'], recorded['mct_loss'], **near)
    torch.testing.assert_close(losses['loss_cct'], recorded['attn_loss'], **near)
    torch.testing.assert_close(losses['loss_patch'], recorded['pat_loss'], **near)
    total = sum(losses.values())
    torch.testing.assert_close(total, recorded['loss'], **near)
    total.backward()
    gradients = MCTFORMER_PLUS.to_theirs({name: parameter.grad for name, parameter in model.named_parameters()})
    names = json.loads((GOLDEN / 'mct_plus_iter_params.json').read_text())
    unused = ('norm.weight', 'norm.bias', 'pos_embed')  # of the published network alone
    norms = torch.stack([torch.zeros(()) if name in unused else gradients[name].norm() for name in names])
    torch.testing.assert_close(norms, recorded['gradient_norms'], rtol=1e-4, atol=1e-7)


def test_whole_cam_of_an_image(golden, monkeypatch):
    """The recording drew the image of every scale; ours otherwise resizes that of scale 1."""
    recorded, model = golden('mct_plus_cam'), published_plus().eval()
    drawings = zip((1, 0.75, 1.25), recorded['image_seeds'].int(), recorded['sizes'].int().tolist(), strict=True)
    drawn = {scale: drawn_image(int(seed), 1, *size) for scale, seed, size in drawings}
    monkeypatch.setattr(cam_only, 'scale_bicubic', lambda images, scale: drawn[scale])
    cams = model.cams(drawn[1])['cam']
    assert recorded['image_labels'][0].nonzero().flatten().tolist() == recorded['classes'].int().tolist()
    torch.testing.assert_close(cams[0, recorded['classes'].int()], recorded['cams'], rtol=0, atol=1e-3)


UNUSED_NORM = dict(WEAKTR_CAM.only_theirs)
VIT = {theirs: ours for theirs, ours in WEAKTR_CAM.names.items() if ours.startswith('backbone.')}


@pytest.mark.parametrize('size', ['96x96', '64x112'])
def test_cams_of_version_2(size, golden):
    """Its sum over three blocks is three times our mean, which a normalised CAM does not show."""
    recorded = golden(f'mct_v2_small_{size}')
    head = dict(fusion='product', num_blocks=3, decay=1)
    model = build(head=head, backbone=dict(pos_embed_offset=0.1), loss_cct=None).eval()
    heads = {f'head.{kind}': f'cam_head.classifier.{kind}' for kind in ('weight', 'bias')}
    table = KeyTable(layout='MCTformer-V2', names=VIT | heads, only_theirs=UNUSED_NORM)
    model.load_state_dict(table.to_ours(published_weights('mct_v2_small')))
    with torch.no_grad():
        tokens = recorded_pass(model, recorded)
        class_logits, patch_logits = model.cam_head(tokens)
        assert_near(patch_logits, recorded['patch_logits'])
        assert_near(class_logits, recorded['logits'])
        assert_near(3 * model.cam_head.fused(tokens), recorded['cam_last_3'])
        assert_near(3 * model.cam_head.cams(tokens), recorded['refined'])


@pytest.mark.parametrize('size', ['96x96', '64x112'])
def test_cams_of_version_1(size, golden):
    recorded = golden(f'mct_v1_small_{size}')
    model = build(head=dict(fusion='class', num_blocks=3), backbone=dict(pos_embed_offset=0.1), loss_cct=None).eval()
    weights = published_weights('mct_v1_small')
    backbone = KeyTable(layout='MCTformer-V1', names=VIT, only_theirs=UNUSED_NORM)
    state = backbone.to_ours({key: value for key, value in weights.items() if not key.startswith('head')})
    model.load_state_dict(state | {f'cam_head.{key}': value for key, value in model.cam_head.state_dict().items()})
    with torch.no_grad():
        tokens = recorded_pass(model, recorded)
        assert_near(model.cam_head(tokens)[0], recorded['logits'])
        assert_near(3 * model.cam_head.fused(tokens), recorded['cam_last_3'])
        assert_near(3 * model.cam_head.cams(tokens), recorded['refined'])
