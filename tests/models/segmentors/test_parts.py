"""What follows from the backbone or from one number of classes need not be said; what is said must fit."""

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_toco import CHANNELS, SIZE, fcn_head, tiny_config
from tiny_weaktr import weaktr_config

ARCH = dict(embed_dims=24, num_layers=4, num_heads=3, feedforward_channels=48)
VIT = dict(type='TokenViT', arch=ARCH, img_size=SIZE, patch_size=8)
RESNET = dict(type='ResNet', depth=18)
SWIN = dict(type='SwinTransformer', arch='base', freeze_pos_embed=True)  # arguments that it does not have
PLAIN = dict(type='mmpretrain.VisionTransformer', arch=ARCH, img_size=SIZE, patch_size=8, out_type='featmap')
CLIPPED = dict(type='GradientClippedCrossEntropy', start_value=1.2, patch_size=16)


def without(config: dict, *names: str) -> dict:
    return {key: value for key, value in config.items() if key not in names}


def build(config: dict):
    init_default_scope('mmseg')
    return MODELS.build(ConfigDict(config))


def bare_toco(**changes) -> dict:
    config = tiny_config(backbone=VIT | dict(out_indices=(1, 3)), num_classes=5)
    for name in ('cam_head', 'aux_cam_head', 'decode_head', 'projector'):
        config[name] = without(config[name], 'num_classes', 'in_channels')
    return config | changes


def bare_weaktr(**changes) -> dict:
    config = weaktr_config(backbone=without(VIT, 'num_cls_tokens') | dict(final_norm=False), num_classes=5)
    return config | dict(cam_head=dict(type='AAFCAMHead')) | changes


def retraining(**changes) -> dict:
    head = dict(type='MaskTransformerHead', num_layers=1, loss_decode=CLIPPED)
    return dict(type='OnlineRetraining', backbone=VIT, decode_head=head, num_classes=5, test_cfg={}) | changes


def test_toco_takes_widths_from_the_backbone_and_classes_from_one_number():
    model = build(bare_toco())
    assert model.num_classes == 6
    for head in (model.cam_head, model.aux_cam_head):
        assert (head.num_classes, head.classifier.in_channels) == (5, 24)
    assert (model.decode_head.num_classes, model.decode_head.in_channels) == (6, 24)
    assert model.projector.student.mlp[0].in_features == 24


def test_decode_head_of_several_maps_and_head_behind_a_neck():
    head = dict(type='SegformerHead', in_index=[0, 1], channels=8, norm_cfg=dict(type='BN'))
    assert build(bare_toco(decode_head=head)).decode_head.in_channels == [24, 24]
    assert build(bare_toco(decode_head=head | dict(in_channels=(24, 24)))).decode_head.num_classes == 6
    neck = dict(type='FPN', in_channels=[24, 24], out_channels=10, num_outs=2)
    head = without(fcn_head(), 'num_classes') | dict(in_channels=10)
    assert build(bare_toco(neck=neck, decode_head=head)).decode_head.in_channels == 10


def test_weaktr_takes_everything_from_the_backbone_and_one_number():
    model = build(bare_weaktr())
    assert (model.num_classes, model.cam_head.num_classes, model.backbone.num_extra_tokens) == (6, 5, 5)
    assert model.cam_head.classifier.in_channels == 24
    weights = model.cam_head.head_weights
    assert (weights.num_blocks, weights.num_heads, weights.head_dims) == (4, 3, 8)
    assert weights.feature_ffn[0].in_features == 8


def heads(decode_head) -> int:
    return decode_head.layers[0].attn.attn.num_heads


def test_class_tokens_of_weaktr_may_follow_from_its_head():
    model = build(bare_weaktr(num_classes=None, cam_head=dict(type='AAFCAMHead', num_classes=7)))
    assert (model.backbone.num_extra_tokens, model.num_classes) == (7, 8)


def test_second_stage_takes_its_decoder_from_the_backbone():
    head = build(retraining()).decode_head
    assert (head.in_channels, head.channels, head.num_classes, heads(head)) == (24, 24, 6, 1)
    wide = VIT | dict(arch=ARCH | dict(embed_dims=192))
    head = build(retraining(backbone=wide)).decode_head
    assert (head.channels, heads(head)) == (192, 3)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (bare_toco(decode_head=fcn_head()), r'^decode_head\.num_classes is 4, but must be 6: it follows from'),
        (bare_toco(num_classes=3, decode_head=fcn_head()), r'^decode_head\.in_channels is 32, but must be 24: '),
        (
            bare_toco(cam_head=dict(type='ClsCAMHead', num_classes=2, in_channels=9)),
            r'^cam_head\.num_classes is 2, but must be 5; cam_head\.in_channels is 9, but must be 24: ',
        ),
        (bare_toco(projector=dict(type='EMAProjector', in_channels=CHANNELS)), r'^projector\.in_channels is 32, but'),
        (bare_weaktr(backbone=VIT | dict(num_cls_tokens=2)), r'^backbone\.num_cls_tokens is 2, but must be 5: '),
        (bare_weaktr(cam_head=dict(type='AAFCAMHead', in_channels=32)), r'^cam_head\.in_channels is 32, but must be 2'),
        (retraining(decode_head=fcn_head() | dict(loss_decode=CLIPPED)), r'^decode_head\.num_classes is 4, but must'),
    ],
)
def test_a_value_that_does_not_fit_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        build(config)


@pytest.mark.parametrize('make', [bare_toco, bare_weaktr])
@pytest.mark.parametrize(
    ('backbone', 'name', 'remedy'),
    [
        (RESNET, 'ResNet', r"Write backbone=dict\(_delete_=True, type='TokenViT', arch='deit-small', \.\.\.\)"),
        (SWIN, 'SwinTransformer', r"Write backbone=dict\(_delete_=True, type='TokenViT'"),
        (PLAIN, 'VisionTransformer', r"A plain ViT is served by TokenViT: write type='TokenViT' and mmpretrain's arg"),
        (dict(type='VisionTransformer'), 'VisionTransformer', "A plain ViT is served by TokenViT: write type='TokenV"),
    ],
)
def test_a_backbone_without_tokens_is_refused_when_the_model_is_built(make, backbone, name, remedy):
    with pytest.raises(
        TypeError, match=rf'cannot work with model\.backbone={name}: it needs .*method tokens.*{remedy}'
    ):
        build(make(backbone=backbone))


def test_what_the_message_says_works():
    config = bare_toco(backbone=without(PLAIN, 'out_type') | dict(type='TokenViT', out_indices=(1, 3)))
    assert build(config).cam_head.classifier.in_channels == 24


def test_a_misspelt_backbone_is_named_by_mmengine():
    with pytest.raises(KeyError, match='TokenVit is not in the'):
        build(bare_toco(backbone=VIT | dict(type='TokenVit')))
