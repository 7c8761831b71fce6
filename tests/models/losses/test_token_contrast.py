import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.cam import pair_relation
from mmseg_wsss.models.losses import class_token_contrast, patch_token_contrast


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
