import math
import sys

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.cam import pair_relation
from mmseg_wsss.models.losses import (
    ClassTokenContrastLoss,
    MultiLabelSoftMarginLoss,
    PatchTokenContrastLoss,
    class_token_contrast,
    patch_token_contrast,
)
from mmseg_wsss.models.losses.reduction import mean_over_ranks


def test_ptc_gives_the_recorded_loss_and_gradient(golden):
    g = golden('toco_ptc')
    features = g['features'].requires_grad_()
    positive, negative = pair_relation(g['labels'])
    loss = patch_token_contrast(features, positive, negative)
    loss.backward()
    torch.testing.assert_close(loss, g['loss'], rtol=0, atol=1e-6)
    torch.testing.assert_close(features.grad, g['grad'], rtol=0, atol=1e-6)


def test_ptc_against_loops():
    features = torch.randn(2, 3, 2, 2)
    labels = torch.tensor([[[0, 1], [1, 255]], [[2, 2], [0, 2]]])
    pull = push = n_pull = n_push = 0.0
    for b in range(2):
        tokens, flat = features[b].flatten(1).T, labels[b].flatten()
        for i in range(4):
            for j in range(4):
                if i == j or 255 in (flat[i], flat[j]):
                    continue
                s = abs(F.cosine_similarity(tokens[i], tokens[j], dim=0).item())
                if flat[i] == flat[j]:
                    pull, n_pull = pull + s, n_pull + 1
                else:
                    push, n_push = push + s, n_push + 1
    expected = 0.5 * (1 - pull / (n_pull + 1)) + 0.5 * push / (n_push + 1)
    actual = patch_token_contrast(features, *pair_relation(labels))
    assert actual.item() == pytest.approx(expected, abs=1e-6)


def test_ptc_without_known_pairs_is_a_constant():
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = patch_token_contrast(features, *pair_relation(torch.full((1, 2, 2), 255)))
    loss.backward()
    assert loss.item() == 0.5
    assert features.grad.abs().max() == 0


def test_ctc_gives_the_recorded_loss_and_gradient(golden):
    g = golden('toco_ctc')
    recorded = g['student'].requires_grad_()  # views first, images second
    student = recorded.unflatten(0, (10, 3)).transpose(0, 1)
    teacher = g['teacher'].unflatten(0, (2, 3)).transpose(0, 1)
    loss = class_token_contrast(student, teacher, g['is_positive'] > 0, extra_negative_term=True)
    loss.backward()
    torch.testing.assert_close(loss, g['loss_with_extra_term'], rtol=0, atol=1e-4)
    torch.testing.assert_close(recorded.grad, g['grad'], rtol=0, atol=1e-5)


def test_ctc_is_the_papers_equation():
    student, teacher = F.normalize(torch.randn(2, 5, 4), dim=-1), F.normalize(torch.randn(2, 2, 4), dim=-1)
    positive = torch.tensor([[True, True, False, True, False], [True, True, True, True, True]])
    expected = 0.0
    for b in range(2):
        terms = []
        for anchor in teacher[b]:
            negatives = sum(math.exp(anchor @ q / 0.5) for q in student[b][~positive[b]])
            for q in student[b][positive[b]]:
                hit = math.exp(anchor @ q / 0.5)
                terms.append(-math.log(hit / (hit + negatives + 1e-4)))
        expected += sum(terms) / len(terms) / 2
    assert class_token_contrast(student, teacher, positive).item() == pytest.approx(expected, abs=1e-6)


def test_ctc_stays_finite_where_exp_overflows():
    student = torch.tensor([[[1.0], [1.0], [-1.0]]], requires_grad=True)
    teacher = torch.ones(1, 2, 1)
    positive = torch.tensor([[True, True, False]])
    loss = class_token_contrast(student, teacher, positive, temperature=1e-3)  # exp(1000)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(student.grad).all()
    turned = class_token_contrast(-student, teacher, positive, temperature=1e-3)
    assert turned.item() == pytest.approx(2000.0)  # -log(e^-1000 / (e^-1000 + e^1000))


def test_the_modules_weigh_and_pass_on_their_options():
    tokens = torch.randn(2, 3, 2, 2)
    pairs = pair_relation(torch.tensor([[[0, 1], [1, 255]], [[2, 2], [0, 2]]]))
    ptc = patch_token_contrast(tokens, *pairs).item()
    assert PatchTokenContrastLoss()(tokens, *pairs).item() == pytest.approx(0.2 * ptc), 'published weight'
    assert PatchTokenContrastLoss(loss_weight=3.0)(tokens, *pairs).item() == pytest.approx(3 * ptc)

    views = F.normalize(torch.randn(2, 5, 4), dim=-1), F.normalize(torch.randn(2, 2, 4), dim=-1)
    views = *views, torch.tensor([[True, True, False, True, False], [True, False, True, True, False]])
    ctc = class_token_contrast(*views, temperature=0.5, eps=1e-4, extra_negative_term=False).item()
    assert ClassTokenContrastLoss()(*views).item() == pytest.approx(0.5 * ctc), 'published weight'
    for options in (dict(temperature=0.1), dict(eps=1.0), dict(extra_negative_term=True)):
        other = class_token_contrast(*views, **options).item()
        assert other != pytest.approx(ctc, rel=1e-3)
        assert ClassTokenContrastLoss(loss_weight=2.0, **options)(*views).item() == pytest.approx(2 * other)


@pytest.mark.parametrize('temperature', [0, -0.5])
def test_a_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=f'temperature must be positive, got {temperature}'):
        ClassTokenContrastLoss(temperature=temperature)
    assert ClassTokenContrastLoss(temperature=0.5).temperature == 0.5


def test_the_multi_label_loss_by_hand():
    """Mean over classes of the binary cross-entropies: log(1 + e^-2) for the hit, log(1 + e^1) for the false alarm."""
    logits, label = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2
    assert MultiLabelSoftMarginLoss()(logits, label).item() == pytest.approx(by_hand)
    assert MultiLabelSoftMarginLoss(loss_weight=0.3)(logits.bfloat16(), label).item() == pytest.approx(0.3 * by_hand)


def test_ptc_of_two_processes_is_that_of_the_whole_batch(monkeypatch):
    """Each process sees the counts of both; the mean of their losses is the loss of one batch."""
    tokens = torch.randn(2, 3, 2, 2)
    positive, negative = pair_relation(torch.tensor([[[0, 1], [1, 255]], [[2, 2], [0, 2]]]))
    whole = patch_token_contrast(tokens, positive, negative)

    losses = []
    for own in (slice(0, 1), slice(1, 2)):
        means = iter((positive.sum() / 2, negative.sum() / 2))
        module = sys.modules[patch_token_contrast.__module__]
        monkeypatch.setattr(module, 'mean_over_ranks', lambda count, means=means: next(means))
        monkeypatch.setattr(module, 'get_world_size', lambda: 2)
        losses.append(patch_token_contrast(tokens[own], positive[own], negative[own]))
    torch.testing.assert_close(torch.stack(losses).mean(), whole)


def test_counts_are_averaged_over_processes(monkeypatch):
    count = torch.tensor([3.0, 5.0])
    assert mean_over_ranks(count) is count, 'one process: nothing to exchange'
    module = sys.modules[mean_over_ranks.__module__]
    monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    monkeypatch.setattr(module, 'all_reduce', lambda data: data.add_(torch.tensor([1.0, 0.0])))
    assert mean_over_ranks(count).tolist() == [2.0, 2.5]
    assert count.tolist() == [3.0, 5.0], 'its own count stays'
