import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models.losses import MemoryContrastLoss, memory_contrast

RECORDINGS = ['seco_lil', 'seco_lil_duplicates', 'seco_lil_noise', 'seco_lil_no_match', 'seco_lil_all_mixed']


@pytest.mark.parametrize('name', RECORDINGS)
def test_recorded_loss_gradient_and_revised_tags(golden, name):
    g = golden(name)
    features = g['features'].requires_grad_()
    tags, key_tags = g['flags'][:, 0].long(), g['key_flags'][:, 0].long()
    loss, revised = memory_contrast(features, tags, g['keys'], key_tags, temperature=0.08, as_published=True)
    loss.backward()
    torch.testing.assert_close(loss, g['loss'][0], rtol=0, atol=1e-4)
    assert (features.grad - g['grad']).abs().max() <= 1e-3 * g['grad'].abs().max()
    assert torch.equal(revised, g['revised_flags'][:, 0].long())
    assert 'noise' not in name or (tags[0] == 3 and revised[0] == 0)


def by_loops(features, tags, keys, key_tags, temperature=0.08):
    """The paper's loss, pair by pair."""
    anchors = []
    for q, f in zip(features.double(), tags.tolist(), strict=True):
        scores = [math.exp(q @ k / temperature) for k in keys.double()]
        tagged = sum(s for s, g in zip(scores, key_tags.tolist(), strict=True) if g != -1)
        terms = [-math.log(s / tagged) for s, g in zip(scores, key_tags.tolist(), strict=True) if f == g != -1]
        if terms:
            anchors.append(sum(terms) / len(terms))
    return sum(anchors) / len(anchors)


def example(anchors=9, keys=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(anchors + keys, 8, generator=generator), dim=1)
    tags = torch.randint(-1, 4, (anchors + keys,), generator=generator)
    return vectors[:anchors], tags[:anchors], vectors[anchors:], tags[anchors:]


@pytest.mark.parametrize('seed', range(3))
def test_the_papers_mean_over_positives_then_anchors(seed):
    data = example(seed=seed)
    loss, revised = memory_contrast(*data)
    assert loss.item() == pytest.approx(by_loops(*data), rel=1e-5)
    assert torch.equal(revised, data[1])


def test_by_hand():
    """One anchor, three keys at cosines 1, 0 and 0.6; the third has no tag."""
    keys = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])
    args = (torch.tensor([[1.0, 0]]), torch.tensor([2]), keys, torch.tensor([2, 0, -1]))
    expected = math.log(1 + math.exp(-1 / 0.5))
    assert memory_contrast(*args, temperature=0.5)[0].item() == pytest.approx(expected, abs=1e-6)
    module = MemoryContrastLoss(temperature=0.5, loss_weight=3.0)
    assert module(*args)[0].item() == pytest.approx(3 * expected, abs=1e-6)
    published = MemoryContrastLoss(temperature=0.5, as_published=True)(*args)[0]
    assert published.item() == 0, 'its only positive is the maximum, which the published code leaves out'


def test_published_faults_of_the_sum():
    """The nearest key matches best and all others are equally far: nothing but the tag of the nearest should matter."""
    keys = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    tags = torch.tensor([1, 2, 2, 2])
    anchor, tag = torch.tensor([[1.0, 0]]), torch.tensor([2])
    right, _ = memory_contrast(anchor, tag, keys, tags, temperature=1.0)
    assert right.item() == pytest.approx(math.log(math.e + 3), abs=1e-6)
    fault, _ = memory_contrast(anchor, tag, keys, tags, temperature=1.0, as_published=True)
    log_sum = math.log(3 * math.exp(-1))  # without the maximum
    assert fault.item() == pytest.approx((3 + 4 * log_sum) / 3, abs=1e-6), (
        'subtracted for four keys, not three positives'
    )


@pytest.mark.parametrize(('far', 'noise'), [(10, False), (11, True)])
def test_noise_is_more_than_ten_times_as_many_far_keys_as_near_ones(far, noise):
    keys = torch.tensor([[1.0, 0]] + [[0.0, 1]] * far)
    tags = torch.full((1 + far,), 3)
    for as_published in (False, True):
        _, revised = memory_contrast(keys[:1], tags[:1], keys, tags, as_published=as_published)
        assert revised.tolist() == [0 if noise else 3]
    loss, _ = memory_contrast(keys[:1].requires_grad_(), tags[:1], keys, tags)
    assert (loss.item() == 0) == noise, 'noise has no positives'


def test_noise_ratio_and_defaults():
    keys = torch.tensor([[1.0, 0]] + [[0.0, 1]] * 4)
    tags = torch.full((5,), 3)
    assert MemoryContrastLoss(noise_ratio=3)(keys[:1], tags[:1], keys, tags)[1].tolist() == [0]
    assert MemoryContrastLoss()(keys[:1], tags[:1], keys, tags)[1].tolist() == [3]
    module = MemoryContrastLoss()
    assert (module.temperature, module.noise_ratio, module.as_published, module.loss_weight) == (0.08, 10, False, 0.5)
    data = example()
    assert module(*data)[0].item() == pytest.approx(0.5 * by_loops(*data), rel=1e-5)
    with pytest.raises(ValueError, match='temperature must be positive, got 0'):
        MemoryContrastLoss(temperature=0)


@pytest.mark.parametrize('as_published', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ('tags', 'key_tags'),
    [([0, 0], [0, 0, 0]), ([1, 1], [1, 1, 1]), ([-1, -1], [1, 0, 2]), ([1, 2], [-1, -1, -1]), ([3], [1, 2, 0])],
)
def test_never_nan(tags, key_tags, dtype, as_published):
    features = F.normalize(torch.randn(len(tags), 4), dim=1).to(dtype).requires_grad_()
    keys = F.normalize(torch.randn(3, 4), dim=1)
    with torch.autocast('cpu', torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss, _ = memory_contrast(features, torch.tensor(tags), keys, torch.tensor(key_tags), as_published=as_published)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss >= 0
    assert torch.isfinite(features.grad).all()
    if not set(tags) & set(key_tags) - {-1}:
        assert loss.item() == 0
        assert not features.grad.any()


def test_several_processes_give_the_loss_of_the_whole_batch(monkeypatch):
    features, tags, keys, key_tags = example(anchors=10)
    whole, _ = memory_contrast(features, tags, keys, key_tags)
    parts = [(features[:6], tags[:6]), (features[6:], tags[6:])]
    counted = [int(((t[:, None] == key_tags) & (t[:, None] != -1)).any(dim=1).sum()) for _, t in parts]
    assert min(counted) > 0
    assert counted[0] != counted[1]
    monkeypatch.setattr('mmseg_wsss.models.losses.reduction.get_world_size', lambda: 2)
    monkeypatch.setattr('mmseg_wsss.models.losses.reduction.all_reduce', lambda count: count.fill_(sum(counted)))
    mean = sum(memory_contrast(*part, keys, key_tags)[0] for part in parts) / 2
    torch.testing.assert_close(mean, whole)
