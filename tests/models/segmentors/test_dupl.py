"""DuPL's contract, its starts, and the faults of the published code that are gone."""

import copy
import re
import sys

import pytest
import torch
from host_waits import Recorder
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from small_dupl import total
from tiny_toco import CHANNELS, CLASSES, SIZE, make_batch, tiny_config

from mmseg_wsss.models import DuPL
from mmseg_wsss.models.cam import PresentClasses

LABELS = [[0, 2], [1]]
CLASSIFICATION = {f'loss_{name}_{branch}' for name in ('cls', 'cls_aux') for branch in (1, 2)}
PTC = {'loss_ptc_1', 'loss_ptc_2'}
SEGMENTATION = {'decode.loss_seg_1', 'decode.loss_seg_2'}
CONSISTENCY = {'loss_consistency_1', 'loss_consistency_2'}
SHARED = ('data_preprocessor', 'backbone', 'cam_head', 'aux_cam_head', 'loss_ptc', 'refiner', 'decode_head', 'test_cfg')

ENC_HEAD = dict(
    type='EncHead',
    in_channels=[CHANNELS, CHANNELS],
    in_index=[0, 1],
    channels=16,
    num_codes=4,
    num_classes=CLASSES + 1,
    norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.1),
)


def build_dupl(**changes) -> DuPL:
    """Two tiny networks with different initial weights, in training mode."""
    init_default_scope('mmseg')
    config = {name: value for name, value in tiny_config().items() if name in SHARED} | dict(
        type='DuPL',
        loss_discrepancy=dict(type='FeatureDiscrepancyLoss'),
        loss_consistency=dict(type='ConfidentConsistencyLoss', confidence=0.0),
        noise_filter=dict(type='MixtureNoiseFilter', min_count=5, min_gap=0.0),
    )
    model = MODELS.build(ConfigDict(config | changes))
    for branch in model.branches:
        branch.backbone.init_weights()
    return model.train()


def batch_of(labels=LABELS):
    views, samples = make_batch(labels)
    return dict(img=views['img'], strong_view=views['local_view']), samples


def terms(losses):
    return {key for key in losses if 'loss' in key}


def finite(losses, model):
    total(losses).backward()
    assert all(value.isfinite() for key, value in losses.items() if 'loss' in key), losses
    assert all(one.grad.isfinite().all() for one in model.parameters() if one.grad is not None)


def test_every_part_begins_at_its_own_iteration():
    starts = dict(loss_discrepancy=1, loss_seg=1, loss_ptc=2, final_cam=2, noise_filter=3, loss_consistency=4)
    model, filtered = build_dupl(starts=starts), []
    model.noise_filter.register_forward_hook(lambda *_: filtered.append(model.iteration))
    seen = [terms(model.loss(*batch_of())) for _ in range(6)]
    assert seen[0] == CLASSIFICATION | {'loss_not_begun'}
    assert seen[1] == CLASSIFICATION | SEGMENTATION | {'loss_discrepancy'}
    assert seen[2] == seen[3] == seen[1] | PTC
    assert seen[4] == seen[5] == seen[1] | PTC | CONSISTENCY
    assert filtered == [3, 3, 4, 4, 5, 5], 'both branches'
    assert model.iteration == 6


def test_labels_come_from_the_auxiliary_cam_until_the_final_one_begins():
    model, used = build_dupl(starts=dict(final_cam=1)), []
    for branch in model.branches:
        shape = (2, 2, SIZE, SIZE)
        branch.training_cams = lambda *_, shape=shape: dict(cam=torch.full(shape, 0.9), cam_aux=torch.zeros(shape))
        inner = branch.segmentation_losses
        branch.segmentation_losses = lambda maps, label, *args, inner=inner, **kwargs: (
            used.append(label.unique().tolist()) or inner(maps, label, *args, **kwargs)
        )
    model.noise_filter = None
    for _ in range(2):
        model.loss(*batch_of())
    assert used[:2] == [[0], [0]], 'background everywhere by the auxiliary CAM'
    assert used[2:] == [[1, 2]] * 2


def test_each_branch_learns_the_labels_of_the_other():
    model, taught = build_dupl(noise_filter=None, loss_consistency=None), []
    values = iter((1, 3))  # of the first branch, then of the second
    model.branch1.pseudo_label = lambda *_, **__: torch.full((2, SIZE, SIZE), next(values))
    for branch in model.branches:
        inner = branch.segmentation_losses
        branch.segmentation_losses = lambda maps, label, *args, inner=inner, **kwargs: (
            taught.append(label.unique().tolist()) or inner(maps, label, *args, **kwargs)
        )
    views, samples = batch_of()
    losses = model.loss(views['img'], samples)
    assert taught == [[3], [1]]
    losses['decode.loss_seg_1'].backward()
    assert model.branch1.decode_head.conv_seg.weight.grad.abs().max() > 0
    assert all(one.grad is None for one in model.branch2.parameters())


def test_branches_start_apart_but_from_the_same_config():
    model = build_dupl()
    first, second = (dict(branch.named_parameters()) for branch in model.branches)
    assert first.keys() == second.keys()
    for name in ('cam_head.classifier.weight', 'decode_head.conv_seg.weight'):
        assert not torch.equal(first[name], second[name])


def test_thresholds_fall_and_an_image_takes_the_largest_of_its_classes():
    model = build_dupl(end_thresholds=[0.4, 0.5, 0.6], threshold_iters=3, starts=dict(threshold=10))
    scores = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]])
    expected = {0: [0.7] * 3, 10: [0.7] * 3, 11: [0.55, 0.6, 0.65], 12: [0.4, 0.5, 0.6], 99: [0.4, 0.5, 0.6]}
    for iteration, values in expected.items():
        model.iteration = iteration
        found = model.upper_thresholds(PresentClasses.of(scores, 2))
        torch.testing.assert_close(found, torch.tensor([*values, 0.25]), msg=str(iteration))
    assert 'end_thresholds' not in model.state_dict(), 'the config has them'
    one = build_dupl()
    assert (one.end_thresholds.tolist(), one.threshold_iters) == (pytest.approx([0.55] * 3), 18000)


def test_upper_thresholds_reach_both_kinds_of_labels():
    model, seen = build_dupl(end_thresholds=0.3, threshold_iters=2, starts=dict(threshold=0)), []
    inner = model.branch1.pseudo_label
    model.branch1.pseudo_label = lambda *args, **kwargs: seen.append(kwargs['high']) or inner(*args, **kwargs)
    relation = model.branch1.token_relation
    model.branch1.token_relation = lambda *args, **kwargs: seen.append(kwargs['high']) or relation(*args, **kwargs)
    model.loss(*batch_of())
    model.loss(*batch_of())
    assert [value.tolist() for value in seen] == [pytest.approx([0.7] * 2)] * 4 + [pytest.approx([0.3] * 2)] * 4


def test_published_fault_an_image_without_tags_fails():
    """Published: the maximum of no threshold. Here it has background everywhere."""
    model, labels = build_dupl(), []
    inner = model.branch1.pseudo_label
    model.branch1.pseudo_label = lambda *args, **kwargs: labels.append(inner(*args, **kwargs)) or labels[-1]
    finite(model.loss(*batch_of([[], [1]])), model)
    assert labels[0][0].unique().tolist() == [0]


@pytest.mark.parametrize('as_published', [False, True])
def test_published_fault_padding_is_asked_for_consistency(as_published):
    model, masks = build_dupl(as_published=as_published, noise_filter=None), []
    model.loss_consistency.register_forward_pre_hook(lambda _, inputs: masks.append(inputs[2]))
    model.branch1.pseudo_label = lambda unit, cam, present, valid, **_: torch.where(valid, 0, 255)
    views, samples = batch_of()
    samples[1].set_metainfo(dict(valid_box=(8, SIZE, 0, 24)))
    losses = model.loss(views, samples)
    assert len(masks) == 2
    for mask in masks:
        assert mask[0].sum() == 0
        assert mask[1].sum() == (SIZE * SIZE - 24 * 24 if as_published else 0)
    assert (losses['loss_consistency_1'].item() > 0) == as_published


def test_published_fault_a_pass_on_the_doubled_batch_is_thrown_away():
    """One pass for the loss, four for the CAMs (the mirror image at scale 1, both at two scales), one strong view."""
    model, sizes = build_dupl(), []
    model.branch2.backbone.register_forward_hook(
        lambda _, inputs, __: sizes.append((len(inputs[0]), *inputs[0].shape[2:]))
    )
    model.loss(*batch_of())
    assert sizes == [(2, 32, 32), (2, 32, 32), (4, 16, 16), (4, 48, 48), (2, 24, 24)]


def test_strong_view_is_mirrored_scaled_and_its_answer_turned_back():
    model, answers = build_dupl(noise_filter=None), []
    for branch in model.branches:
        branch.logits = lambda maps, size: torch.nn.functional.interpolate(maps[0], size=tuple(size))[:, :4]
        branch.backbone = Left()
    model.loss_consistency.register_forward_pre_hook(lambda _, inputs: answers.append(inputs[1]))
    views, samples = batch_of()
    views['strong_view'] = torch.arange(SIZE).float().expand(2, 3, SIZE, SIZE).contiguous()
    model._cross_supervision(
        views,
        [[torch.zeros(2, 4, 4, 4)]] * 2,
        [torch.full((2, SIZE, SIZE), 255)] * 2,
        samples,
        unit=views['img'],
        valid=torch.ones(2, SIZE, SIZE, dtype=torch.bool),
    )
    assert [seen.shape[-1] for branch in model.branches for seen in branch.backbone.seen] == [24, 24]
    for answer in answers:
        assert (answer[0, 0, 0].diff() >= 0).all(), 'columns in the order of the image'
        assert answer[0, 0, 0, 0] < 1
        assert answer[0, 0, 0, -1] > SIZE - 2
    for branch in model.branches:
        assert (branch.backbone.seen[0][0, 0, 0].diff() < 0).all(), 'the network saw the mirror image'


class Left(torch.nn.Module):
    """A backbone that returns the images with a fourth channel."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return [images[:, [0, 1, 2, 2]]]


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
@pytest.mark.parametrize('labels', [LABELS, [[0]], [[], []]])
@pytest.mark.parametrize('cam', [None, 0.0, 0.5, 1.0])
def test_never_nan(labels, cam, dtype):
    model = build_dupl()
    for branch in model.branches if cam is not None else ():
        branch.training_cams = lambda images, maps, present: dict.fromkeys(
            ('cam', 'cam_aux'), torch.full((*present.score.shape, SIZE, SIZE), cam)
        )
    with torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        losses = model.loss(*batch_of(labels))
    finite(losses, model)
    assert terms(losses) == CLASSIFICATION | PTC | SEGMENTATION | CONSISTENCY | {'loss_discrepancy'}


def test_decoders_of_both_branches_step_before_their_loss():
    model = build_dupl(starts=dict(loss_seg=9, loss_consistency=9))
    losses = model.loss(*batch_of())
    assert losses['loss_not_begun'].item() == 0
    total(losses).backward()
    for branch in model.branches:
        assert all((one.grad == 0).all() for one in branch.decode_head.parameters())
        assert branch.cam_head.classifier.weight.grad.abs().max() > 0


def test_resume_is_exact():
    starts = dict(loss_seg=1, noise_filter=2, loss_consistency=2, threshold=1)
    torch.manual_seed(1)
    model = build_dupl(starts=starts, threshold_iters=4)
    model.loss(*batch_of())
    model.loss(*batch_of())
    state = copy.deepcopy(model.state_dict())
    assert [key for key in state if 'extra_state' in key] == ['_extra_state'], 'one counter'
    assert model.with_decode_head
    other = build_dupl(starts=starts, threshold_iters=4)
    other.load_state_dict(state)
    assert other.iteration == 2
    found, expected = other.loss(*batch_of()), model.loss(*batch_of())
    assert {key: value.item() for key, value in found.items()} == {key: value.item() for key, value in expected.items()}
    assert terms(found) >= CONSISTENCY | SEGMENTATION


@torch.no_grad()
def test_prediction_is_the_average_and_a_branch_on_request():
    model = build_dupl().eval()
    views, samples = make_batch(LABELS)
    for sample, shape in zip(samples, [(40, 50), (32, 32)], strict=True):
        sample.set_metainfo(dict(ori_shape=shape))
    alone = [branch.predict(views['img'], copy.deepcopy(samples)) for branch in model.branches]
    found = model.predict(views['img'], copy.deepcopy(samples))
    names = ['cam', 'cam_1', 'cam_2', 'cam_aux', 'cam_aux_1', 'cam_aux_2']
    for index, sample in enumerate(found):
        assert [*sample.cam_names] == names
        assert sample.background_threshold == 0.5
        assert torch.equal(sample.gt_score, samples[index].gt_score)
        first, second = (own[index] for own in alone)
        logits = (first.seg_logits.data + second.seg_logits.data) / 2
        torch.testing.assert_close(sample.seg_logits.data, logits)
        assert torch.equal(sample.pred_sem_seg.data, logits.argmax(dim=0, keepdim=True))
        for name in ('cam', 'cam_aux'):
            assert torch.equal(sample.get(f'{name}_1').data, first.get(name).data)
            assert torch.equal(sample.get(f'{name}_2').data, second.get(name).data)
            torch.testing.assert_close(sample.get(name).data, (first.get(name).data + second.get(name).data) / 2)
            assert sample.get(name).data.shape == (CLASSES, *sample.ori_shape)

    model.test_cfg = ConfigDict(mode='whole', branches=(2,))
    (only, _), calls = model.predict(views['img'], copy.deepcopy(samples)), []
    assert torch.equal(only.seg_logits.data, alone[1][0].seg_logits.data)
    assert 'cam' not in only
    for number, branch in enumerate(model.branches, 1):
        branch.backbone.register_forward_hook(lambda *_, number=number: calls.append(number))
    plain = model.predict(views['img'])
    assert calls == [2], 'the other branch has nothing to do, and there are no CAMs'
    torch.testing.assert_close(plain[1].seg_logits.data, alone[1][1].seg_logits.data)


def test_tag_scores_are_the_mean_of_both_classifiers():
    model, images = build_dupl().eval(), make_batch(LABELS)[0]['img']
    first, second = (branch.cam_head(branch.backbone(images)).sigmoid() for branch in model.branches)
    torch.testing.assert_close(model.tag_scores(images), (first + second) / 2)
    assert not torch.allclose(first, second)


@torch.no_grad()
def test_maps_that_are_known_are_not_computed_again():
    model, calls = build_dupl().eval(), []
    images = make_batch(LABELS)[0]['img']
    maps = model.extract_feat(images)
    expected = model.cams(images)
    for branch in model.branches:
        branch.backbone.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    found = model.cams(images, maps=maps)
    assert calls == [2, 4, 4] * 2, 'the mirror image alone at scale 1'
    for name, cam in expected.items():
        torch.testing.assert_close(found[name], cam)
    metas = [dict(img_shape=(SIZE, SIZE))] * 2
    mean = sum(branch.encode_decode(images, metas) for branch in model.branches) / 2
    torch.testing.assert_close(model.encode_decode(images, metas), mean)
    small = sum(branch.decode_head(branch.backbone(images)) for branch in model.branches) / 2
    torch.testing.assert_close(model(images, mode='tensor'), small)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(aux_cam_head=None), 'loss_ptc needs aux_cam_head: its token labels come from the auxiliary CAM'),
        (dict(refiner=None), 'loss_consistency and noise_filter need refiner: they are about its labels'),
        (dict(refiner=None, noise_filter=None), 'loss_consistency and noise_filter need refiner'),
        (dict(refiner=None, loss_consistency=None), 'loss_consistency and noise_filter need refiner'),
        (dict(starts=dict(loss_seg=3, loss_consistency=2)), 'loss_consistency needs the labels of loss_seg'),
        (dict(starts=dict(loss_reg=3)), 'starts has loss_reg=3; it takes iterations from 0 for loss_ptc, loss_disc'),
        (dict(aux_cam_head=None, loss_ptc=None, starts=dict(final_cam=1)), 'needs labels from the auxiliary CAM'),
        (dict(end_thresholds=0.25), 'end_thresholds must be above 0.25 and at most 1, threshold_iters at least 2, got'),
        (dict(end_thresholds=1.01), 'end_thresholds must be above 0.25'),
        (
            dict(test_cfg=dict(mode='whole', branches=(2, 1))),
            'test_cfg.branches must be (1,), (2,) or (1, 2), got (2, 1)',
        ),
        (dict(test_cfg=dict(mode='whole', branches=())), 'test_cfg.branches must be (1,), (2,) or (1, 2), got ()'),
        (dict(threshold_iters=1), 'end_thresholds must be above 0.25 and at most 1, threshold_iters at least 2, got'),
        (dict(end_thresholds=[0.5, 0.6]), 'end_thresholds has 2 values for 3 classes'),
        (dict(decode_head=ENC_HEAD), 'refiner needs the logits that the segmentation loss is made of; EncHead makes'),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build_dupl(**changes)


def test_smallest_possible_settings():
    model = build_dupl(end_thresholds=1.0, threshold_iters=2, starts=dict(loss_seg=3, loss_consistency=3))
    assert (model.end_thresholds == 1).all()
    assert model.threshold_iters == 2
    model = build_dupl(aux_cam_head=None, loss_ptc=None, starts=dict(loss_seg=3, final_cam=3, loss_consistency=3))
    assert 'loss_ptc' not in model.trains


def test_the_filter_sees_the_losses_of_the_foreground_and_no_gradient():
    model, seen = build_dupl(noise_filter=None), []
    model.noise_filter = lambda *given: seen.append(given) or given[1]
    label, logits = torch.tensor([[[0, 1, 3, 255]]]), torch.randn(1, 4, 1, 4, requires_grad=True)
    assert model._without_noise(logits, label).tolist() == [[[0, 255, 255, 255]]]
    ((loss, foreground),) = seen
    assert foreground.tolist() == [[[False, True, True, False]]]
    assert not loss.requires_grad
    by_hand = -logits.log_softmax(dim=1)[0, [0, 1, 3], 0, [0, 1, 2]]
    torch.testing.assert_close(loss[0, 0], torch.cat((by_hand, torch.zeros(1))))


def test_cams_are_not_computed_before_a_loss_needs_them():
    model = build_dupl(starts=dict(loss_ptc=1, loss_seg=1, loss_consistency=1))
    for branch in model.branches:
        branch.training_cams = None
    assert terms(model.loss(*batch_of())) == CLASSIFICATION | {'loss_discrepancy', 'loss_not_begun'}


def test_losses_and_gradients_of_two_processes_are_those_of_the_whole_batch(monkeypatch):
    """Each process has half of the batch; what they count is added up between two passes."""
    model, (views, samples) = build_dupl(end_thresholds=0.4, threshold_iters=2), batch_of([[0, 2], [1], [], [2]])
    samples[1].set_metainfo(dict(valid_box=(8, SIZE, 0, 24)))
    model.iteration = 1

    def step(part):
        model.iteration = 1
        model.zero_grad()
        losses = model.loss({name: view[part] for name, view in views.items()}, samples[part])
        total(losses).backward()
        gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
        return {name: losses[name].detach() for name in terms(losses)}, gradients

    whole, halves = step(slice(4)), (slice(2), slice(2, 4))
    for module in ('reduction', 'patch_token_contrast'):
        # the package has functions of the modules' names
        monkeypatch.setattr(sys.modules[f'mmseg_wsss.models.losses.{module}'], 'get_world_size', lambda: 2)
    counted, reduction = ([], []), 'mmseg_wsss.models.losses.reduction.all_reduce'
    for calls, part in zip(counted, halves, strict=True):
        monkeypatch.setattr(reduction, lambda count, calls=calls: calls.append(count.clone()))
        step(part)
    sums = [first + second for first, second in zip(*counted, strict=True)]
    assert len(sums) == 10, 'pairs of either kind, background and foreground, sure pixels; of each branch'
    parts = []
    for part in halves:
        queue = iter(sums)
        monkeypatch.setattr(reduction, lambda count, queue=queue: count.copy_(next(queue)))
        parts.append(step(part))
    assert (
        whole[0].keys()
        == parts[0][0].keys()
        == CLASSIFICATION | PTC | SEGMENTATION | CONSISTENCY | {'loss_discrepancy'}
    )
    for found, expected in ((0, whole[0]), (1, whole[1])):
        for name, value in expected.items():
            mean = (parts[0][found][name] + parts[1][found][name]) / 2
            torch.testing.assert_close(mean, value, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f'{name}: {text}')
    assert whole[0]['loss_consistency_1'] > 0


def test_the_host_waits_for_the_device_for_the_accuracy_of_mmsegs_heads_alone():
    model, batch = build_dupl(), batch_of()
    with Recorder() as recorder:
        total(model.loss(*batch)).backward()
    assert recorder.waits == ['index'] * 4, "mmseg's heads pick the pixels of `acc_seg` by a mask, twice each"


def test_branches_may_have_the_dense_energy():
    losses = build_dupl(loss_reg=dict(type='DenseEnergyLoss', weight=1e-3)).loss(*batch_of())
    assert losses['loss_reg_1'].item() < 0
    assert losses['loss_reg_2'].item() < 0


def test_ablations_leave_their_terms_out():
    views, samples = batch_of()
    off = dict(loss_ptc=None, loss_discrepancy=None, loss_consistency=None, noise_filter=None)
    assert terms(build_dupl(**off, refiner=None).loss(views['img'], samples)) == CLASSIFICATION
    assert terms(build_dupl(**off).loss(views['img'], samples)) == CLASSIFICATION | SEGMENTATION
    with pytest.raises(ValueError, match='the loss needs strong_view beside'):
        build_dupl().loss(views['img'], samples)
