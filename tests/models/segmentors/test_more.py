"""MoRe's parts in its loss: labels, starts, ablations, CAMs; its numbers are in ``test_more_golden.py``."""

import sys

import pytest
import torch
import torch.nn.functional as F
from tiny_more import SIZE, build_more
from tiny_toco import make_batch, total

from mmseg_wsss.models.cam import normalize_cam
from mmseg_wsss.models.losses import patch_token_contrast, reduction

LABELS = [[0, 2], [1]]
CLASSIFICATION = {'loss_cls', 'loss_cls_aux', 'loss_token'}
TOKENS = {'loss_certain', 'loss_uncertain', 'loss_ptc'}
SEGMENTATION = {'decode.loss_seg', 'decode.acc_seg', 'loss_reg'}


def batch(labels=LABELS):
    views, samples = make_batch(labels, SIZE)
    return views['img'], samples


def test_every_loss_of_coco_begins_at_its_own_iteration():
    starts = dict(loss_ptc=1, loss_certain=2, loss_uncertain=2, loss_seg=3, loss_reg=3)
    model = build_more(starts=starts)
    terms = [set(model.loss(*batch())) for _ in range(4)]
    waiting = {'loss_not_begun'}
    assert terms[0] == CLASSIFICATION | waiting
    assert terms[1] == CLASSIFICATION | waiting | {'loss_ptc'}
    assert terms[2] == CLASSIFICATION | waiting | TOKENS
    assert terms[3] == CLASSIFICATION | TOKENS | SEGMENTATION
    assert model.iteration == 4


def calls(model, name):
    """What is passed to a method, from now on."""
    seen, inner = [], getattr(model, name)

    def call(*args, **kwargs):
        seen.append((args, kwargs))
        return inner(*args, **kwargs)

    setattr(model, name, call)
    return seen


def test_labels_come_from_the_auxiliary_cam_with_a_threshold_per_loss_and_later_from_the_final_one():
    model = build_more(starts=dict(final_tokens=1, final_cam=2))
    cams, inner = [], model.training_cams
    model.training_cams = lambda *args: cams.append(inner(*args)) or cams[-1]
    tokens, pseudo = calls(model, 'token_label'), calls(model, 'pseudo_label')
    for _ in range(3):
        model.loss(*batch())
    used = [
        (name, kwargs['low'], kwargs['high'])
        for number, (args, kwargs) in enumerate(tokens)
        for name, cam in cams[number // 3].items()
        if cam is args[1]
    ]
    contrast = ('cam_aux', 0.25, 0.7)  # always of the auxiliary CAM
    assert used[:3] == [('cam_aux', 0.25, 0.5), ('cam_aux', 0.25, 0.7), contrast]
    assert used[3:] == 2 * [('cam', 0.35, 0.6), ('cam', 0.35, 0.6), contrast]
    assert [args[1] is both['cam'] for (args, _), both in zip(pseudo, cams, strict=True)] == [False, False, True]
    assert [args[1] is both['cam_aux'] for (args, _), both in zip(pseudo, cams, strict=True)] == [True, True, False]


def test_certain_labels_are_classes_and_uncertain_ones_know_the_tags():
    model = build_more(token_thresholds=dict(certain=(0.1, 0.2)))
    seen = {}
    for loss in (model.loss_certain, model.loss_uncertain):
        loss.register_forward_hook(lambda module, args, out: seen.__setitem__(type(module).__name__, args))
    images, samples = batch()
    model.loss(images, samples)
    tokens, features, label = seen['CertainTokenLoss']
    assert {*label[0].unique().tolist()} <= {0, 1, 3, 255}
    assert {*label[1].unique().tolist()} <= {0, 2, 255}
    assert ((label > 0) & (label < 255)).any()
    torch.testing.assert_close(tokens.norm(dim=-1), torch.full((2, 3), 32**0.5), rtol=1e-2, atol=0)  # behind its norm
    again, class_tokens, _, scores = seen['UncertainTokenLoss']
    assert again is features
    assert class_tokens is tokens
    assert scores.tolist() == [[1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ('left_out', 'missing'),
    [
        (('loss_token',), {'loss_token'}),
        (('loss_certain',), {'loss_certain'}),
        (('loss_uncertain',), {'loss_uncertain'}),
        (('loss_ptc',), {'loss_ptc'}),
        (('loss_reg',), {'loss_reg'}),
        (('refiner', 'loss_reg'), SEGMENTATION),
        (('loss_certain', 'loss_uncertain', 'loss_ptc', 'refiner', 'loss_reg'), TOKENS | SEGMENTATION),
    ],
)
def test_parts_that_are_left_out(left_out, missing):
    losses = build_more(**dict.fromkeys(left_out)).loss(*batch())
    assert set(losses) == (CLASSIFICATION | TOKENS | SEGMENTATION) - missing


def test_the_graph_waits_with_gradients_of_zero_where_nothing_else_trains_it():
    for loss_token, waits in ((None, True), (dict(type='TokenIdentityLoss'), False)):
        model = build_more(loss_token=loss_token, starts=dict(loss_certain=5))
        total(model.loss(*batch())).backward()
        assert all((one.grad == 0).all() == waits for one in model.graph.parameters())


@pytest.mark.parametrize('labels', [[[], []], [[0]], [[0, 1, 2]]])
@pytest.mark.parametrize('amp', [False, True])
def test_losses_and_gradients_are_finite(labels, amp):
    model = build_more()
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=amp):
        losses = model.loss(*batch(labels))
    total(losses).backward()
    assert all(loss.isfinite().all() for loss in losses.values())
    assert all(one.grad.isfinite().all() for one in model.parameters() if one.grad is not None)


def test_lam_is_the_product_of_class_and_patch_tokens_of_any_sign():
    model = build_more(cam_scales=(1.0,)).eval()
    images, _ = batch()
    with torch.no_grad():
        pair = []
        for one in (images, images.flip(-1)):
            tokens = model.backbone.tokens(one)
            product = torch.stack(
                [t @ f.flatten(1) for t, f in zip(model.class_tokens(tokens), tokens.maps[-1], strict=True)]
            )
            pair.append(F.interpolate(product.unflatten(-1, (8, 8)), size=(SIZE, SIZE), mode='bilinear'))
        merged = torch.maximum(pair[0], pair[1].flip(-1))
    assert (merged < 0).any(dim=-1).any()
    cams = model.cams(images)
    assert list(cams) == ['cam', 'cam_aux', 'lam']
    torch.testing.assert_close(cams['lam'], normalize_cam(merged), rtol=0, atol=1e-4)
    assert not torch.allclose(cams['lam'], normalize_cam(merged.relu()), atol=1e-3)
    known = model.cams(images, maps=model.backbone(images))
    assert all(torch.equal(known[name], cam) for name, cam in cams.items())


def test_predictions_have_three_cams():
    model = build_more().eval()
    images, samples = batch()
    with torch.no_grad():
        predicted = model.predict(images, samples)
    assert predicted[0].cam_names == ('cam', 'cam_aux', 'lam')
    assert predicted[0].lam.data[1].abs().max() == 0, 'masked by image-level labels'
    assert predicted[0].lam.data[0].max() > 0.99


def test_a_checkpoint_has_all_there_is_to_go_on():
    model, other = build_more(starts=dict(final_tokens=1)), build_more(starts=dict(final_tokens=1))
    model.loss(*batch())
    other.load_state_dict(model.state_dict())
    losses = []
    for one in (model, other):
        torch.manual_seed(5)
        losses.append(one.loss(*batch()))
    assert other.iteration == 2
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(value, losses[1][name]) for name, value in losses[0].items())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(token_thresholds=dict(last=(0.1, 0.2))), r'token_thresholds has last=\(0.1, 0.2\); it takes 0 <= low <'),
        (dict(token_thresholds=dict(final=(0.6, 0.6))), r'has final=\(0.6, 0.6\); .* for certain, uncertain, final'),
        (dict(token_thresholds=dict(certain=(-0.1, 0.2))), r'has certain=\(-0.1, 0.2\);'),
        (dict(token_thresholds=dict(uncertain=(0.1, 1.1))), r'has uncertain=\(0.1, 1.1\);'),
        (dict(starts=dict(loss_token=3)), 'starts has loss_token=3; it takes iterations from 0 for loss_ptc, '),
        (dict(num_classes=4), r'cam_head.num_classes is 3, but must be 4|decode_head.num_classes is 4, but must be 5'),
        (dict(graph=dict(type='ClassGraph', num_classes=2)), 'graph.num_classes is 2, but must be 3'),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_more(**changes)


def test_extreme_thresholds_are_possible():
    model = build_more(token_thresholds=dict(certain=(0.0, 1.0)))
    assert model.token_thresholds == dict(certain=(0.0, 1.0), uncertain=(0.25, 0.7), final=(0.35, 0.6))


def test_a_backbone_without_tokens_is_refused():
    with pytest.raises(TypeError, match=r'^MoRe cannot work with model.backbone=ResNet'):
        build_more(backbone=dict(type='ResNet', depth=18))


def test_there_is_a_class_token_per_class_whoever_says_their_number():
    assert build_more(num_classes=None).backbone.cls_token.shape == (1, 2 + 3, 32)
    with pytest.raises(ValueError, match=r'^backbone.num_cls_tokens is 2, but must be 3: it follows'):
        build_more(num_classes=None, backbone=dict(type='TokenViT', num_cls_tokens=2))


def test_two_processes_have_the_losses_and_gradients_of_the_whole_batch(monkeypatch):
    """The counts of both processes are those of the whole batch, in the same order."""
    model = build_more()
    images, samples = batch([[0, 2], [1], [], [0]])
    keys, counts = torch.rand(2, 4, 2, 2), []
    monkeypatch.setattr(reduction, 'get_world_size', lambda: 2)
    monkeypatch.setattr(reduction, 'all_reduce', lambda count: counts.append(count.clone()) or count.mul_(2))

    def step(part, processes):
        model.iteration = 0
        monkeypatch.setattr(sys.modules[patch_token_contrast.__module__], 'get_world_size', lambda: processes)
        monkeypatch.setattr(torch, 'rand', lambda *shape, **kwargs: keys[:, part])
        losses = model.loss(images[part], samples[part])
        model.zero_grad()
        total(losses).backward()
        gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
        return {name: value.detach() for name, value in losses.items() if 'loss' in name}, gradients

    expected = step(slice(4), 1)
    recorded, counts = counts, []
    ranks = []
    for part in (slice(2), slice(2, 4)):
        order = iter(recorded)
        monkeypatch.setattr(reduction, 'all_reduce', lambda count, order=order: count.copy_(next(order)))
        ranks.append(step(part, 2))
        assert next(order, None) is None, 'the processes make equally many reductions'
    assert len(recorded) == 5, 'uncertain tokens, both kinds of pairs, both sides of the segmentation'
    for whole, *halves in zip(expected, *ranks, strict=True):
        assert whole.keys() == halves[0].keys()
        for name, value in whole.items():
            mean = (halves[0][name] + halves[1][name]) / 2
            torch.testing.assert_close(mean, value, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f'{name}: {text}')
    assert (ranks[0][0]['loss_uncertain'] - ranks[1][0]['loss_uncertain']).abs() > 1e-5, 'different images'
