import pytest
import torch
import torch.nn.functional as F
from recorded_draws import keys_of

from mmseg_wsss.models.losses import UncertainTokenLoss, choose_uncertain, reduction, uncertain_tokens


@pytest.mark.parametrize('name', ['more_uncertain_mixed', 'more_uncertain_no_foreground'])
def test_recorded_loss_and_gradient(golden, name):
    g = golden(name)
    features, tokens, label = g['map'].requires_grad_(), g['tokens'].requires_grad_(), g['labels'].long()
    chosen = choose_uncertain(label, keys_of(g['permutations'], label), as_published=True)
    loss = uncertain_tokens(features, tokens, g['image_labels'], *chosen)
    loss.backward()
    torch.testing.assert_close(loss, g['loss'], rtol=0, atol=1e-5)
    assert (features.grad - g['grad_map']).abs().max() <= 1e-3 * g['grad_map'].abs().max()
    assert tokens.grad is None, 'class tokens do not learn from it'


def small(height=8, width=9):
    """Labels whose only object is at rows and columns 4 and 5, with uncertain tokens around it."""
    label = torch.zeros(1, height, width, dtype=torch.long)
    label[:, 3:7, 3:7] = 255
    label[:, 4:6, 4:6] = 2
    return label


def test_the_published_tokens_are_three_rows_up_and_three_columns_left():
    """All of an inner grid of 2 x 3 but its last column and the corner of the object are chosen."""
    label = torch.full((1, 8, 9), 2)
    label[:, 3:5, 3:5] = 255
    keys = torch.zeros(2, 1, 2, 3)
    index, chosen = choose_uncertain(label, keys)
    right = index[chosen]
    assert sorted(right[:4].tolist()) == [row * 9 + column for row in (3, 4) for column in (3, 4)]
    assert label.flatten()[right[:4]].eq(255).all(), 'the uncertain ones'
    assert label.flatten()[right[4:]].eq(2).all()
    published, same = choose_uncertain(label, keys, as_published=True)
    assert torch.equal(same, chosen)
    assert torch.equal(published, index - 3 * 9 - 3)
    assert label.flatten()[published[same][:4]].eq(2).all(), 'other tokens, certain ones'


def loops(label):
    """Candidates of an image (h, w), and tokens of a class, both away from the border."""
    level = [[{0: 0, 255: 1}.get(one, 2) for one in row] for row in label.tolist()]
    near, own = set(), set()
    for row in range(3, label.shape[0] - 3):
        for column in range(3, label.shape[1] - 3):
            window = [level[y][x] for y in range(row - 3, row + 3) for x in range(column - 3, column + 3)]
            if level[row][column] == 1 and sum(window) >= 44:  # of 36: 1.2 on average is 43.2
                near.add(row * label.shape[1] + column)
            if level[row][column] == 2:
                own.add(row * label.shape[1] + column)
    return near, own


@pytest.mark.parametrize('num', [3, 8, 20])
@pytest.mark.parametrize('share', [0.0, 0.3, 0.6, 0.9])
def test_who_is_chosen_against_loops(share, num):
    label = torch.randint(1, 4, (4, 12, 14))
    label[torch.rand(4, 12, 14) < 0.5] = 255
    label[torch.rand(4, 12, 14) < share] = 0
    index, chosen = choose_uncertain(label, torch.rand(2, 4, 6, 8), num=num)
    assert index.shape == chosen.shape == (4, num + num // 4)
    for image in range(4):
        near, own = loops(label[image])
        picked = index[image, chosen[image]].tolist()
        assert len(set(picked)) >= min(num, len(near)), 'without replacement'
        first, more = set(picked[: min(num, len(near))]), picked[min(num, len(near)) :]
        assert first <= near
        assert len(first) == min(num, len(near))
        assert len(more) == len(set(more)) == max(0, num - len(near)) // 4
        inner = {y * 14 + x for y in range(3, 9) for x in range(3, 11)}
        assert set(more) <= (own if len(own) >= len(more) else inner)


def test_every_candidate_can_be_drawn_and_the_draw_changes():
    label = torch.randint(1, 4, (1, 12, 14))
    label[torch.rand(1, 12, 14) < 0.5] = 255
    near, _ = loops(label[0])
    assert len(near) > 8
    draws = [choose_uncertain(label, torch.rand(2, 1, 6, 8)) for _ in range(60)]
    assert set().union(*(index[chosen].tolist() for index, chosen in draws)) == near


def test_exactly_as_many_tokens_of_a_class_as_wanted_are_enough():
    """Without candidates two are wanted."""
    label = torch.zeros(1, 8, 9, dtype=torch.long)
    label[0, 3, 3] = label[0, 4, 5] = 2
    keys = torch.ones(2, 1, 2, 3) * 0.5
    keys[:, 0, 0, 1] = 0.9  # a token of the background that would be drawn first
    index, chosen = choose_uncertain(label, keys)
    assert sorted(index[chosen].tolist()) == [3 * 9 + 3, 4 * 9 + 5]
    label[0, 4, 5] = 0
    index, chosen = choose_uncertain(label, keys)
    assert 3 * 9 + 4 in index[chosen].tolist(), 'one is not: any token'


def test_loss_against_loops_and_only_chosen_tokens_count():
    features, tokens = torch.randn(2, 4, 7, 7), torch.randn(2, 3, 4)
    scores = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    index, chosen = torch.tensor([[5, 9, 1], [3, 3, 40]]), torch.tensor([[True, True, False], [True, False, True]])
    terms = []
    for b in range(2):
        for s in range(3):
            if not chosen[b, s]:
                continue
            u = features[b].flatten(1)[:, index[b, s]]
            cosines = [abs(F.cosine_similarity(u, t, dim=0).item()) for t in tokens[b]]
            pull = sum(c for c, one in zip(cosines, scores[b], strict=True) if one)
            push = sum(c for c, one in zip(cosines, scores[b], strict=True) if not one)
            present = int(scores[b].sum())
            terms.append(0.5 * (1 - pull / (present + 1)) + 0.5 * push / (3 - present + 1))
    actual = uncertain_tokens(features, tokens, scores, index, chosen)
    assert actual.item() == pytest.approx(sum(terms) / 4, abs=1e-6)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('case', ['no foreground', 'all uncertain', 'one class', 'one image', 'zero token'])
def test_value_and_gradient_are_finite(case, dtype):
    count, classes = 1 if case == 'one image' else 2, 1 if case == 'one class' else 3
    features = torch.randn(count, 4, 7, 8)
    if case == 'zero token':
        features[:] = 0
    features = features.to(dtype).requires_grad_()
    label = torch.full((count, 7, 8), {'no foreground': 0, 'all uncertain': 255}.get(case, 1))
    scores = torch.zeros(count, classes) if case == 'no foreground' else torch.ones(count, classes)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = UncertainTokenLoss(loss_weight=1.0)(features, torch.randn(count, classes, 4).to(dtype), label, scores)
    loss.backward()
    assert loss.dtype == torch.float32
    assert 0 < loss.item() < 1
    assert features.grad.isfinite().all()


def test_no_chosen_token_gives_zero():
    features = torch.randn(1, 4, 7, 7, requires_grad=True)
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    loss = uncertain_tokens(
        features, torch.randn(1, 3, 4), torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.long), nothing
    )
    loss.backward()
    assert loss.item() == 0
    assert features.grad.abs().max() == 0


def test_processes_with_unequal_counts_average_to_the_whole_batch(monkeypatch):
    features, tokens, scores = torch.randn(4, 4, 7, 7), torch.randn(4, 3, 4), torch.randint(0, 2, (4, 3)).float()
    index, chosen = torch.randint(0, 49, (4, 5)), torch.rand(4, 5) < 0.5
    chosen[0] = False
    whole = uncertain_tokens(features, tokens, scores, index, chosen)
    monkeypatch.setattr(reduction, 'get_world_size', lambda: 2)
    monkeypatch.setattr(reduction, 'all_reduce', lambda count: count.fill_(chosen.sum()))
    args = (features, tokens, scores, index, chosen)
    halves = [uncertain_tokens(*(one[part] for one in args)) for part in (slice(2), slice(2, 4))]
    torch.testing.assert_close(sum(halves) / 2, whole)


def test_half_precision_does_not_reach_the_similarities():
    args = torch.randn(1, 4, 7, 7), torch.randn(1, 3, 4), torch.ones(1, 3)
    chosen = torch.tensor([[3, 30]]), torch.ones(1, 2, dtype=torch.bool)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = uncertain_tokens(*args, *chosen)
    assert torch.equal(inside, uncertain_tokens(*args, *chosen))


def test_module_weighs_draws_and_has_published_defaults():
    features, tokens, label, scores = torch.randn(1, 4, 8, 9), torch.randn(1, 3, 4), small(), torch.ones(1, 3)
    module = UncertainTokenLoss()
    assert (module.num, module.as_published, module.loss_weight) == (8, False, 0.1)
    for settings in (dict(), dict(num=3), dict(as_published=True, loss_weight=2.0)):
        torch.manual_seed(3)
        keys = torch.rand(2, 1, 2, 3)
        torch.manual_seed(3)
        loss = UncertainTokenLoss(**settings)(features, tokens, label, scores)
        after = torch.rand(1)
        kwargs = {name: value for name, value in settings.items() if name != 'loss_weight'}
        expected = uncertain_tokens(features, tokens, scores, *choose_uncertain(label, keys, **kwargs))
        torch.testing.assert_close(loss, settings.get('loss_weight', 0.1) * expected)
        torch.manual_seed(3)
        torch.rand(2, 1, 2, 3)
        assert torch.equal(after, torch.rand(1)), 'the generator goes on'


@pytest.mark.parametrize('grid', [(6, 9), (9, 6)])
def test_a_grid_without_inner_tokens_is_refused(grid):
    label = torch.zeros(1, *grid, dtype=torch.long)
    with pytest.raises(ValueError, match=rf'at least 7x7 tokens, got \({grid[0]}, {grid[1]}\): enlarge the crop'):
        UncertainTokenLoss()(torch.randn(1, 4, *grid), torch.randn(1, 3, 4), label, torch.ones(1, 3))
