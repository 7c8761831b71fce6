"""MCTformer+: losses, what they train, chunks and processes, CAMs and pseudo-labels."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from tiny_mctformer import build_mctformer
from tiny_toco import CLASSES, SIZE, make_batch

from mmseg_wsss.models.cam import normalize_cam, scale_bicubic
from mmseg_wsss.models.losses import token_identity
from mmseg_wsss.structures import image_scores, set_image_label

LABELS = [[0], [1, 2]]


def batch_of(labels=LABELS):
    views, samples = make_batch(labels)
    return views['img'], samples


def test_the_losses_against_the_formulas():
    model = build_mctformer()
    images, samples = batch_of()
    losses = model.loss(images, samples)
    assert losses.keys() == {'loss_token', 'loss_patch', 'loss_cct'}
    recorded = model.backbone.tokens(images, record=lambda attention: attention.tokens).recorded
    tokens = torch.stack([block[:, :CLASSES] for block in recorded])
    torch.testing.assert_close(losses['loss_cct'], token_identity(tokens, image_scores(samples)))
    heads = model.cam_head.loss(model.backbone.tokens(images), image_scores(samples))
    torch.testing.assert_close(losses['loss_token'], heads['loss_token'])
    torch.testing.assert_close(losses['loss_patch'], heads['loss_patch'])


def test_the_last_recorded_class_tokens_are_the_final_ones():
    model = build_mctformer()
    tokens = model.backbone.tokens(batch_of()[0], record=model._class_tokens)
    assert torch.equal(tokens.recorded[-1], tokens.cls_token)
    assert len(tokens.recorded) == model.backbone.num_layers
    for block in tokens.recorded:
        assert block.untyped_storage().nbytes() == 4 * block.numel(), 'the patches are not kept'


def trained_by(model, loss):
    model.zero_grad()
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_what_each_loss_trains():
    model = build_mctformer()
    images, samples = batch_of()
    for name, trains_head in (('loss_token', False), ('loss_patch', True), ('loss_cct', False)):
        trained = trained_by(model, model.loss(images, samples)[name])
        assert {'backbone.cls_token', 'backbone.pos_embed', 'backbone.patch_embed.projection.weight'} <= trained
        assert ('cam_head.classifier.weight' in trained) == trains_head


def test_without_the_contrast_nothing_is_recorded(monkeypatch):
    """MCTformer-V2's losses."""
    model = build_mctformer(loss_cct=None)
    images, samples = batch_of()
    whole = build_mctformer()
    whole.load_state_dict(model.state_dict())
    expected = whole.loss(images, samples)
    monkeypatch.setattr(model, '_class_tokens', None)
    losses = model.loss(images, samples)
    assert losses.keys() == {'loss_token', 'loss_patch'}
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name])


def test_the_contrast_counts_as_its_weight_says():
    model = build_mctformer()
    images, samples = batch_of()
    one = model.loss(images, samples)['loss_cct']
    model.loss_cct.loss_weight = 0.25
    torch.testing.assert_close(model.loss(images, samples)['loss_cct'], one / 4)


def test_chunks_give_the_losses_and_gradients_of_the_whole_batch():
    images, samples = batch_of([[0], [1, 2], [], [2]])
    whole, chunks = build_mctformer(), build_mctformer(backbone=dict(pixels_per_pass=2 * SIZE * SIZE))
    chunks.load_state_dict(whole.state_dict())
    for model in (whole, chunks):
        sum(model.loss(images, samples).values()).backward()
    for one, other in zip(whole.parameters(), chunks.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_processes_average_to_the_losses_of_the_whole_batch():
    """Every loss is a mean over images, also where an image has no class."""
    model = build_mctformer()
    images, samples = batch_of([[0], [], [1, 2], [2]])
    whole = model.loss(images, samples)
    halves = [model.loss(images[part], samples[part]) for part in (slice(2), slice(2, 4))]
    for name, value in whole.items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2)


@pytest.mark.parametrize('labels', [[[]], [[], []], [[0, 1, 2]]], ids=['one image', 'no foreground', 'all classes'])
@pytest.mark.parametrize('half', [False, True])
def test_losses_and_gradients_are_finite(labels, half):
    model = build_mctformer()
    images, samples = batch_of(labels)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=half):
        losses = model.loss(images, samples)
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert (losses['loss_cct'] == 0) == (labels[0] == [])


def test_one_class_alone():
    """Its token has nothing to differ from."""
    model = build_mctformer(backbone=dict(num_cls_tokens=1))
    samples = [set_image_label(SegDataSample(), [0], 1)]
    losses = model.loss(batch_of([[0]])[0], samples)
    sum(losses.values()).backward()
    assert losses['loss_cct'] == 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_cams_are_summed_over_published_scales_and_flips():
    model = build_mctformer().eval()
    images = batch_of()[0]
    assert model.cam_scales == (1.0, 0.75, 1.25)
    with torch.no_grad():
        total = 0
        for scale in model.cam_scales:
            scaled = images if scale == 1 else scale_bicubic(images, scale)
            for view, back in ((scaled, lambda x: x), (scaled.flip(-1), lambda x: x.flip(-1))):
                total = total + back(F.interpolate(model(view), size=(SIZE, SIZE), mode='bilinear'))
        torch.testing.assert_close(model.cams(images)['cam'], normalize_cam(total, 1e-8), rtol=1e-4, atol=1e-5)


def test_a_map_of_zeros_stays_zero():
    """Where the convolution is negative everywhere there is no CAM, and no NaN by the root."""
    model = build_mctformer().eval()
    with torch.no_grad():
        model.cam_head.classifier.bias.fill_(-100.0)
    assert torch.equal(model.cams(batch_of()[0])['cam'], torch.zeros(2, CLASSES, SIZE, SIZE))


def test_pseudo_labels_of_present_classes():
    model = build_mctformer(background_threshold=0.3).eval()
    images, samples = batch_of()
    with torch.no_grad():
        cams = model.cams(images)['cam']
        predicted = model.predict(images, samples)
    for cam, sample in zip(cams, predicted, strict=True):
        masked = cam * sample.gt_score[:, None, None]
        torch.testing.assert_close(sample.cam.data, masked)
        score, best = masked.max(dim=0)
        assert torch.equal(sample.pred_sem_seg.data[0], torch.where(score > 0.3, best + 1, 0))
        assert sample.metainfo['cam_names'] == ('cam',)


def test_a_backbone_without_tokens_is_named():
    with pytest.raises(TypeError, match=r'^MCTformer cannot work with model.backbone=ResNet'):
        build_mctformer(backbone=dict(type='ResNet'))
    with pytest.raises(ValueError, match=r'^backbone\.num_cls_tokens is 3, but must be 5: it follows from other parts'):
        build_mctformer(head=dict(num_classes=5))
