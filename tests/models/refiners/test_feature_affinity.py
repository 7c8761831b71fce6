"""FeatureAffinity: the composition of its parts, invariants, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from tiny_toco import build_toco, make_batch

from mmseg_wsss.models.cam import balanced, feature_affinity, mean_patch_attention, spread

VIT = dict(
    type='TokenViT',
    arch=dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=64),
    img_size=32,
    patch_size=8,
)


def build(**changes):
    refiner = MODELS.build(dict(type='FeatureAffinity', backbone=VIT) | changes)
    with torch.no_grad():  # tokens that differ
        for one in refiner.backbone.parameters():
            one.normal_(std=0.2)
    return refiner.eval()


def inputs(images):
    """ImageNet's normalisation."""
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    return (255 * images - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def affinity_of(refiner, images, num_blocks=2, temperature=0.2):
    kept = []
    with torch.no_grad():
        tokens = refiner.backbone.tokens(images, record=lambda one: kept.append((one.query, one.key)))
    if refiner.source == 'features':
        return balanced(feature_affinity(tokens.maps[-1].flatten(2).mT, temperature), 3)
    return balanced(torch.stack([mean_patch_attention(*one, 1) for one in kept[-num_blocks:]]).mean(0), 3)


@pytest.mark.parametrize('source', ['attention', 'features'])
def test_its_parts_one_after_the_other(source):
    refiner = build(source=source, num_blocks=2, temperature=0.2, box_threshold=0.3)
    images, scores = torch.rand(2, 3, 32, 40), torch.rand(2, 3, 4, 5)
    expected = spread(scores, affinity_of(refiner, inputs(images)), power=2, box_threshold=0.3)
    expected = F.interpolate(expected, size=(32, 40), mode='bilinear', align_corners=False)
    found = refiner(images, scores)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, F.interpolate(scores, size=(32, 40), mode='bilinear'), atol=0.1)


def test_attention_and_features_differ():
    images, scores = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32)
    one = build(source='attention')
    other = build(source='features')
    other.load_state_dict(one.state_dict())
    assert not torch.allclose(one(images, scores), other(images, scores), atol=0.01)


def test_images_are_resized_to_whole_patches():
    refiner = build()
    assert refiner._inputs(torch.rand(1, 3, 35, 53)).shape == (1, 3, 32, 56)
    refiner = build(longer_side=64)
    assert refiner._inputs(torch.rand(1, 3, 30, 100)).shape == (1, 3, 16, 64)
    image = torch.rand(1, 3, 32, 40)
    torch.testing.assert_close(build()._inputs(image), inputs(image))


def test_a_constant_background_stays_and_ranges_stay():
    scores = torch.rand(1, 3, 24, 24)
    scores[:, 0] = 0.4
    found = build()(torch.rand(1, 3, 24, 24), scores)
    torch.testing.assert_close(found[:, 0], scores[:, 0])
    assert found.min() >= 0
    assert found.max() <= 1


def test_several_maps_per_image_are_as_one_by_one():
    refiner = build(source='features')
    images, scores = torch.rand(2, 3, 32, 32), torch.rand(4, 2, 8, 8)
    found = refiner(images, scores)
    for index in range(4):
        alone = refiner(images[index % 2][None], scores[index][None])
        torch.testing.assert_close(found[index], alone[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='2 images and 3 score maps'):
        refiner(images, scores[:3])


def test_a_pass_in_chunks_is_the_same():
    whole = build()
    chunks = build(backbone=dict(VIT, pixels_per_pass=32 * 32))
    chunks.load_state_dict(whole.state_dict())
    images, scores = torch.rand(3, 3, 32, 32), torch.rand(3, 2, 4, 4)
    torch.testing.assert_close(chunks(images, scores), whole(images, scores), rtol=1e-4, atol=1e-5)


def test_its_backbone_is_frozen_and_its_values_are_named():
    refiner = build(source='features', mean=(1, 2, 3.00004))
    assert not any(one.requires_grad for one in refiner.backbone.parameters())
    assert not refiner.train().backbone.training
    assert refiner.extra_repr() == (
        "source='features', num_blocks=8, temperature=0.1, rounds=3, power=2, box_threshold=0.4, longer_side=None, "
        'mean=[1.0, 2.0, 3.0], std=[58.395, 57.12, 57.375]'
    )


@pytest.mark.parametrize('blocks', [1, 2, 3, 8])
def test_the_last_blocks_are_averaged(blocks):
    refiner = build(num_blocks=blocks)
    images = inputs(torch.rand(2, 3, 32, 32))
    with torch.no_grad():
        found = refiner.of_attention(refiner.backbone.tokens(images, record=refiner.recorder(refiner.backbone)))
    torch.testing.assert_close(found, affinity_of(refiner, images, num_blocks=blocks), rtol=1e-4, atol=1e-6)


def test_scores_are_averaged_where_the_grid_is_coarser():
    """Antialiased: a pixel between two patches counts for both."""
    scores = torch.zeros(1, 2, 32, 32)
    scores[0, 0, :, 8:24] = 1
    images = torch.rand(1, 3, 32, 32)
    refiner = build(box_threshold=None)
    small = F.interpolate(scores, size=(4, 4), mode='bilinear', align_corners=False, antialias=True)
    torch.testing.assert_close(refiner(images, scores), refiner(images, small))
    rough = F.interpolate(scores, size=(4, 4), mode='bilinear', align_corners=False)
    assert not torch.allclose(small, rough)


def test_under_autocast_only_the_backbone_is_bfloat16():
    refiner, images, scores = build(source='features'), torch.rand(1, 3, 32, 32), torch.rand(1, 2, 8, 8)
    inputs = refiner._inputs(images)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found, features = refiner(images, scores), refiner.backbone.tokens(inputs).maps[-1]
    assert found.dtype == torch.float32
    assert not torch.equal(features.float(), refiner.backbone.tokens(inputs).maps[-1])
    affinity = balanced(feature_affinity(features.flatten(2).mT, refiner.temperature), refiner.rounds)
    small = F.interpolate(scores, size=features.shape[-2:], mode='bilinear', align_corners=False, antialias=True)
    expected = spread(small, affinity, power=refiner.power, box_threshold=refiner.box_threshold)
    expected = F.interpolate(expected, size=(32, 32), mode='bilinear', align_corners=False)
    assert torch.equal(found, expected)


def test_a_thin_image_has_one_row_of_patches():
    refiner = build(longer_side=64)
    assert refiner._inputs(torch.rand(1, 3, 3, 1000)).shape == (1, 3, 8, 64)
    assert refiner(torch.rand(1, 3, 3, 1000), torch.rand(1, 2, 3, 1000)).shape == (1, 2, 3, 1000)


def test_the_file_is_needed_to_initialise_and_not_to_build(tmp_path):
    state = {key: torch.randn_like(value) for key, value in build().backbone.state_dict().items()}
    config = dict(VIT, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth')))
    refiner = build(backbone=config)
    torch.save(state, tmp_path / 'vit.pth')
    refiner.init_weights()
    assert torch.equal(refiner.backbone.pos_embed, state['pos_embed'])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(source='colour'), "source must be one of attention, features, got 'colour'"),
        (dict(num_blocks=0), 'num_blocks >= 1'),
        (dict(temperature=0), 'temperature > 0'),
        (dict(rounds=-1), 'rounds >= 0'),
        (dict(power=0), 'power >= 1'),
        (dict(box_threshold=1.5), r'box_threshold is a share of the maximum, in \[0, 1\], got 1.5'),
        (dict(box_threshold=-0.1), 'box_threshold is a share'),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='FeatureAffinity') | changes)


def test_training_with_it_in_place_of_par():
    refiner = dict(type='FeatureAffinity', backbone=VIT, source='features')
    model = build_toco(refiner=refiner, cam_thresholds=(0.1, 0.2))
    views, samples = make_batch([[0], [1, 2]])
    losses = model.loss(views, samples)
    assert all(value.isfinite().all() for key, value in losses.items() if 'loss' in key)
    assert float(losses['decode.loss_seg']) > 0
