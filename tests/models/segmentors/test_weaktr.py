"""The first stage of WeakTr: losses, what they train, CAMs and pseudo-labels."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_toco import CLASSES, SIZE, make_batch
from tiny_weaktr import BLOCKS, HEAD_WEIGHTS, HEADS, build_weaktr

from mmseg_wsss.models.backbones import SelfAttention
from mmseg_wsss.models.cam import attention_map, normalize_cam, scale_bicubic
from mmseg_wsss.structures import image_scores


def naive_cams(model, images):
    """Coarse and fine CAM by the formulas, with every attention map in one stack."""
    blocks = model.backbone.tokens(images, record=lambda attention: attention)
    maps = torch.stack([attention_map(a.query, a.key) for a in blocks.recorded], dim=1)  # (B, K, H, n, n)
    weights = model.cam_head.head_weights([model.cam_head.head_weights.record(a) for a in blocks.recorded])
    fused = (maps * weights[..., None, None]).mean(dim=(1, 2))
    coarse = model.cam_head.classifier(blocks.maps[-1])
    crossed = coarse.relu().flatten(2) * fused[:, :CLASSES, CLASSES:]
    fine = torch.einsum('bmn,bcn->bcm', fused[:, CLASSES:, CLASSES:], crossed)
    return coarse, crossed.view_as(coarse), fine.view_as(coarse)


def images_of(views):
    return views['img']


def test_three_losses_against_the_formulas():
    model = build_weaktr()
    views, samples = make_batch([[0], [1, 2]])
    losses = model.loss(images_of(views), samples)
    coarse, _, fine = naive_cams(model, images_of(views))
    label = image_scores(samples)

    def soft_margin(logits):
        return -(label * logits.sigmoid().log() + (1 - label) * (-logits).sigmoid().log()).mean()

    token = model.backbone.tokens(images_of(views)).cls_token.mean(-1)
    torch.testing.assert_close(losses['loss_token'], soft_margin(token))
    torch.testing.assert_close(losses['loss_coarse'], soft_margin(coarse.mean((-2, -1))))
    torch.testing.assert_close(losses['loss_fine'], soft_margin(fine.mean((-2, -1))))
    assert losses.keys() == {'loss_token', 'loss_coarse', 'loss_fine'}


def trained_by(model, loss):
    """Names of the parameters that a loss has a gradient for."""
    model.zero_grad()
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_the_fine_loss_trains_the_head_weights_alone():
    model = build_weaktr()
    views, samples = make_batch([[0], [1, 2]])
    fine = trained_by(model, model.loss(images_of(views), samples)['loss_fine'])
    assert fine == {f'cam_head.head_weights.{name}' for name, _ in model.cam_head.head_weights.named_parameters()}
    coarse = trained_by(model, model.loss(images_of(views), samples)['loss_coarse'])
    assert 'backbone.cls_token' in coarse
    assert 'cam_head.classifier.weight' in coarse
    assert not any('head_weights' in name for name in coarse)
    token = trained_by(model, model.loss(images_of(views), samples)['loss_token'])
    assert 'backbone.patch_embed.projection.weight' in token
    assert not any(name.startswith('cam_head') for name in token)


def test_a_scale_on_the_fine_logits_scales_them():
    model = build_weaktr()
    views, samples = make_batch([[0], [1]])
    fine = model(images_of(views)).mean((-2, -1))
    model.cam_head.fine_scale = 1000.0
    expected = F.multilabel_soft_margin_loss(1000 * fine, image_scores(samples))
    torch.testing.assert_close(model.loss(images_of(views), samples)['loss_fine'], expected)
    assert abs(float(expected.detach()) - math.log(2)) > 1e-3


@pytest.mark.parametrize(('cross', 'patch'), [(True, True), (True, False), (False, True), (False, False)], ids=str)
def test_parts_of_the_refinement(cross, patch):
    model = build_weaktr(dict(cross_attention=cross, patch_attention=patch, fine_scale=50.0)).eval()
    views, samples = make_batch([[0], [1]])
    images = images_of(views)
    with torch.no_grad():
        coarse, crossed, fine = naive_cams(model, images)
        expected = {(True, True): fine, (True, False): crossed, (False, False): coarse.relu()}.get((cross, patch))
        if expected is None:  # patch attention alone: spreading a CAM of ones times CA is the only other factor
            blocks = model.backbone.tokens(images, record=lambda attention: attention).recorded
            maps = torch.stack([attention_map(a.query, a.key) for a in blocks], dim=1)
            weights = model.cam_head.head_weights([model.cam_head.head_weights.record(a) for a in blocks])
            fused = (maps * weights[..., None, None]).mean(dim=(1, 2))[:, CLASSES:, CLASSES:]
            expected = torch.einsum('bmn,bcn->bcm', fused, coarse.relu().flatten(2)).view_as(coarse)
        torch.testing.assert_close(model(images), expected)
        loss = F.multilabel_soft_margin_loss(50 * expected.mean((-2, -1)), image_scores(samples))
        torch.testing.assert_close(model.loss(images, samples)['loss_fine'], loss)


@pytest.mark.parametrize(
    'kind',
    [
        dict(type='MapPooledWeights', reduction=2),
        dict(type='FixedQueryWeights', reduction=2),
        dict(type='EqualWeights'),
        dict(type='OutputPooledWeights', head_dims=16, pooling='avg', reduction=4),
    ],
    ids=lambda kind: kind['type'],
)
def test_other_head_weights_give_their_own_fine_cam(kind):
    weights = dict(kind, num_blocks=BLOCKS, num_heads=HEADS)
    model = build_weaktr(dict(head_weights=weights)).eval()
    images = images_of(make_batch([[0], [1]])[0])
    with torch.no_grad():
        torch.testing.assert_close(model(images), naive_cams(model, images)[2])


def test_cams_are_summed_over_scales_and_flips():
    model = build_weaktr().eval()
    images = images_of(make_batch([[0], [1]])[0])
    with torch.no_grad():
        total = 0
        for scale in (1.0, 0.5):
            scaled = scale_bicubic(images, scale) if scale != 1 else images
            for view, back in ((scaled, lambda x: x), (scaled.flip(-1), lambda x: x.flip(-1))):
                total = total + back(F.interpolate(naive_cams(model, view)[2], size=(SIZE, SIZE), mode='bilinear'))
        torch.testing.assert_close(model.cams(images)['cam'], normalize_cam(total, 1e-8), rtol=1e-4, atol=1e-5)


def test_pseudo_labels_are_masked_by_tags_and_thresholded():
    model = build_weaktr().eval()
    views, samples = make_batch([[0], [1, 2]])
    with torch.no_grad():
        cams = model.cams(images_of(views))['cam']
        predicted = model.predict(images_of(views), samples)
        unmasked = model.predict(images_of(views))
    for index, sample in enumerate(predicted):
        masked = cams[index] * sample.gt_score[:, None, None]
        torch.testing.assert_close(sample.cam.data, masked)
        for y in range(0, SIZE, 5):
            for x in range(0, SIZE, 5):
                best = max(range(CLASSES), key=lambda c: float(masked[c, y, x]))
                expected = best + 1 if float(masked[best, y, x]) > 0.4 else 0
                assert int(sample.pred_sem_seg.data[0, y, x]) == expected
        torch.testing.assert_close(unmasked[index].cam.data, cams[index])


def test_without_cam_in_test_cfg_only_labels_come_back():
    model = build_weaktr(test_cfg=dict()).eval()
    with torch.no_grad():
        sample = model.predict(images_of(make_batch([[0]])[0]))[0]
    assert 'cam' not in sample
    assert sample.pred_sem_seg.data.unique().tolist() == [0, 1, 2, 3]


def test_attention_is_recorded_without_its_history_and_only_where_needed():
    attention = SelfAttention(
        *(torch.randn(1, 2, 9, 16, requires_grad=True) * 1 for _ in range(2)), *torch.randn(2, 1, 9, 32)
    )
    for cross, patch in ((True, False), (False, True)):
        recorded = build_weaktr(dict(cross_attention=cross, patch_attention=patch)).cam_head.record(attention)
        torch.testing.assert_close(recorded.query, attention.query)
        torch.testing.assert_close(recorded.key, attention.key)
        assert not (recorded.query.requires_grad)
        assert not (recorded.key.requires_grad)
        assert not (recorded.pooled.requires_grad)
    assert build_weaktr(dict(cross_attention=False, patch_attention=False)).cam_head.record(attention) == ()


def test_bfloat16_keeps_the_fine_cam_in_float32():
    model = build_weaktr().eval()
    images = images_of(make_batch([[0], [1]])[0])
    with torch.no_grad():
        exact = model(images)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            rounded = model(images)
    assert rounded.dtype == torch.float32
    assert float((rounded - exact).abs().mean() / exact.mean()) < 0.01


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'^backbone\.num_cls_tokens is 3, but must be 5: it follows'):
        build_weaktr(dict(num_classes=5))
    with pytest.raises(ValueError, match=r'cam_head\.head_weights\.num_heads is 3, but must be 2'):
        build_weaktr(dict(head_weights=HEAD_WEIGHTS | dict(num_heads=3)))
    with pytest.raises(ValueError, match=r'cam_head\.head_weights\.num_blocks is 12, but must be 2'):
        build_weaktr(dict(head_weights=dict(type='EqualWeights', num_blocks=12)))
    with pytest.raises(ValueError, match=r'threshold must be in \[0, 1\), got 1.5'):
        build_weaktr(background_threshold=1.5)
    with pytest.raises(ValueError, match='fine_scale must be positive, got 0'):
        build_weaktr(dict(fine_scale=0))


def test_the_cam_of_an_image_thinner_than_a_patch_is_one_column():
    model = build_weaktr().eval()
    cam = model.cams(torch.randn(1, 3, 40, 3))['cam']
    assert cam.shape == (1, CLASSES, 40, 3)
    assert cam.amax() > 0.9, 'rows differ'
    torch.testing.assert_close(cam, cam[..., :1].expand_as(cam))


def test_tag_scores_are_those_of_the_class_tokens():
    model, images = build_weaktr().eval(), torch.randn(2, 3, SIZE, SIZE)
    tokens = model.backbone.tokens(images).cls_token  # (B, C, D)
    expected = [[1 / (1 + math.exp(-float(token.mean()))) for token in one] for one in tokens]
    torch.testing.assert_close(model.tag_scores(images), torch.tensor(expected))
