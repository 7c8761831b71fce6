"""When ToCo's losses begin, and what happens to the parts that wait for theirs."""

import pytest
import torch
from tiny_toco import SIZE, build_toco, make_batch, total

LABELS = [[0, 2], [1]]
ENERGY = dict(type='DenseEnergyLoss', weight=1e-3)
CLASSIFICATION = {'loss_cls', 'loss_cls_aux'}
SEGMENTATION = {'decode.loss_seg', 'decode.acc_seg', 'loss_reg'}
CONTRAST = {'loss_ptc', 'loss_ctc'}


def test_every_loss_of_coco_begins_at_its_own_iteration():
    """The published stages: classification; + segmentation on the auxiliary CAM; everything, on the final CAM."""
    starts = dict(loss_seg=1, loss_reg=1, loss_ptc=3, loss_ctc=3, final_cam=3)
    model = build_toco(loss_reg=ENERGY, starts=starts)
    sources, inner = [], model.pseudo_label
    model.pseudo_label = lambda *args: sources.append(args[1]) or inner(*args)
    cams, inner_cams = [], model.training_cams
    model.training_cams = lambda *args: cams.append(inner_cams(*args)) or cams[-1]
    views, samples = make_batch(LABELS)
    terms = [set(model.loss(views, samples)) for _ in range(5)]
    assert terms[0] == CLASSIFICATION | {'loss_not_begun'}
    assert terms[1] == terms[2] == CLASSIFICATION | SEGMENTATION | {'loss_not_begun'}
    assert terms[3] == terms[4] == CLASSIFICATION | SEGMENTATION | CONTRAST
    used = [name for source, both in zip(sources, cams, strict=True) for name, cam in both.items() if cam is source]
    assert used == ['cam_aux', 'cam_aux', 'cam', 'cam'], 'labels of the auxiliary CAM until the contrast begins'


def test_dense_energy_may_begin_after_the_segmentation_loss():
    model = build_toco(loss_reg=ENERGY, starts=dict(loss_reg=1))
    views, samples = make_batch(LABELS)
    first, second = model.loss(views, samples), model.loss(views, samples)
    assert set(first) == CLASSIFICATION | CONTRAST | SEGMENTATION - {'loss_reg'}
    assert set(second) == set(first) | {'loss_reg'}


def test_decoder_steps_before_its_loss_as_if_that_were_multiplied_by_zero():
    """Published: 0.0 * loss. AdamW counts these steps and decays the weights."""
    waiting, steps = 5, 8

    def train(model, weight_of):
        # at 4e-2 a difference in AdamW's count of steps is far above rounding
        optimizer = torch.optim.AdamW(model.parameters(), lr=4e-2, weight_decay=0.1)
        views, samples = make_batch(LABELS)
        for step in range(steps):
            torch.manual_seed(step)
            losses = model.loss(views, samples)
            optimizer.zero_grad()
            sum(weight_of(key, step) * value for key, value in losses.items() if 'loss' in key).backward()
            optimizer.step()
        return model.state_dict()

    torch.manual_seed(0)
    ours = build_toco(starts=dict(loss_seg=waiting, loss_ctc=waiting))
    published = build_toco()
    published.load_state_dict(ours.state_dict())
    weights = train(ours, lambda key, step: 1)
    expected = train(published, lambda key, step: 0 if key in ('decode.loss_seg', 'loss_ctc') and step < waiting else 1)
    for key in expected:
        if key != '_extra_state':
            torch.testing.assert_close(
                weights[key], expected[key], rtol=0, atol=2e-5, msg=lambda text, key=key: key + text
            )


def test_first_step_after_2001_empty_ones_is_3_times_as_long():
    """The published decoder's bias correction has run out when its gradients begin: 0.1 / sqrt(0.001) = 3.16."""
    moved = []
    for empty in (0, 2001):
        weight = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.AdamW([weight], lr=1e-3, weight_decay=0.0)
        for step in range(empty + 1):
            weight.grad = torch.full((1,), 1.0 if step == empty else 0.0)
            optimizer.step()
        moved.append(-weight.item())
    assert moved[1] / moved[0] == pytest.approx(0.1 / 0.001**0.5 * (1 - 0.999**2002) ** 0.5, rel=1e-3)


def test_waiting_parts_have_gradients_of_zero_and_no_others():
    model = build_toco(starts=dict(loss_seg=9, loss_ctc=9))
    views, samples = make_batch(LABELS)
    losses = model.loss(views, samples)
    assert losses['loss_not_begun'].item() == 0
    total(losses).backward()
    for part in (model.decode_head, model.projector.student):
        assert all((parameter.grad == 0).all() for parameter in part.parameters())
    assert all(parameter.grad is None for parameter in model.projector.teacher.parameters())
    assert model.cam_head.classifier.weight.grad.abs().max() > 0


def test_without_a_loss_that_waits_there_is_no_such_term():
    """An ablation without segmentation and contrast leaves decoder and projector alone, as before."""
    model = build_toco(loss_ctc=None, projector=None, refiner=None, starts=dict(loss_seg=9, loss_ptc=1, loss_ctc=9))
    views, samples = make_batch(LABELS)
    assert set(model.loss(views['img'], samples)) == CLASSIFICATION
    assert set(model.loss(views['img'], samples)) == CLASSIFICATION | {'loss_ptc'}


def test_teacher_follows_from_the_first_iteration():
    """Published COCO moves the EMA teacher in every step, also while the contrast has no weight."""
    model = build_toco(starts=dict(loss_ctc=9))
    views, samples = make_batch(LABELS)
    model.loss(views, samples)
    with torch.no_grad():
        before = model.projector.teacher.module.mlp[0].weight.clone()
        model.projector.student.mlp[0].weight += 1
    model.loss(views, samples)
    torch.testing.assert_close(model.projector.teacher.module.mlp[0].weight, before + 0.1)


def test_checkpoint_of_one_counter_continues_with_starts():
    """The counter was there before there was a start per loss."""
    model = build_toco(starts=dict(loss_seg=8001, loss_ptc=12001))
    state = build_toco().state_dict()
    state['_extra_state'] = torch.tensor(12000)
    model.load_state_dict(state)
    assert model.has_begun('loss_seg')
    assert not model.has_begun('loss_ptc')
    views, samples = make_batch(LABELS)
    assert 'loss_ptc' not in model.loss(views, samples)
    assert 'loss_ptc' in model.loss(views, samples)
    assert views['img'].shape[-1] == SIZE
