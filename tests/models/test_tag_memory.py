"""The queue and the prototypes of SeCo."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_wsss.models import tag_memory
from mmseg_wsss.models.tag_memory import TagMemory

CLASSES = 3


def test_the_queue_starts_empty():
    fixed = dict(num_classes=CLASSES, channels=8, length=50, momentum=0.9)
    memory = TagMemory(**fixed)
    assert not memory.queue.any()
    assert (memory.queue_tag == -1).all(), 'no tag: in no sum'
    torch.testing.assert_close(memory.prototypes.norm(dim=1), torch.ones(CLASSES))
    published = TagMemory(**fixed, as_published=True)
    assert (published.queue_tag == 0).all(), 'the fault: valid as background'
    torch.testing.assert_close(published.queue.norm(dim=0), torch.ones(8), msg='the fault: columns, not keys')
    assert (published.queue.norm(dim=1) < 0.9).all()
    with pytest.raises(ValueError, match=r'memory.momentum must be in \[0, 1\), got 1'):
        TagMemory(**fixed | dict(momentum=1))
    assert TagMemory(**fixed | dict(momentum=0)).momentum == 0


def test_recorded_queue(golden):
    g = golden('seco_queue')
    memory = TagMemory(num_classes=6, channels=48, length=72, momentum=0.9)
    memory.queue.copy_(g['queue_before'])
    memory.queue_tag.copy_(g['flags_before'])
    memory.queue_ptr.fill_(int(g['pointer_before']))
    memory.append(g['keys'].view(4, 6, 48), g['key_flags'].long().view(4, 6))
    assert torch.equal(memory.queue, g['queue_after'])
    assert torch.equal(memory.queue_tag, g['flags_after'].long())
    assert memory.queue_ptr.tolist() == g['pointer_after'].tolist()


def test_the_queue_goes_round():
    memory = TagMemory(num_classes=2, channels=1, length=5, momentum=0.9)
    for start in (1, 4, 7):
        values = torch.arange(start, start + 3)
        memory.append(values.float().view(1, 3, 1), values.view(1, 3))
    assert memory.queue_tag[:, 0].tolist() == memory.queue[:, 0].tolist() == [6, 7, 8, 9, 5]
    assert memory.queue_ptr.tolist() == [4]
    memory.append(torch.zeros(1, 5, 1), torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match=r'a step makes 6 keys, more than the 5 that model\.memory\.length holds'):
        memory.append(torch.zeros(1, 6, 1), torch.zeros(1, 6, dtype=torch.long))


def test_recorded_prototypes(golden):
    g = golden('seco_prototypes')
    memory = TagMemory(num_classes=6, channels=48, length=1, momentum=g['momentum'].item())
    memory.prototypes.copy_(g['before'])
    label = F.one_hot(g['label_idx'].long().clamp(min=0), 7)[:, 1:].float()
    label[g['label_idx'] < 0] = torch.tensor([1.0, 1, 0, 0, 0, 0])  # two classes
    memory.follow(g['embeds'], label)
    torch.testing.assert_close(memory.prototypes, g['after'], rtol=0, atol=1e-6)


def test_images_without_a_class_move_no_prototype():
    memory = TagMemory(num_classes=3, channels=4, length=1, momentum=0.5)
    before = memory.prototypes.clone()
    memory.follow(torch.randn(2, 4), torch.tensor([[0.0, 0, 0], [1, 0, 1]]))
    torch.testing.assert_close(memory.prototypes, before)


def test_memory_of_two_processes_is_that_of_one(monkeypatch):
    """Samplers deal images out in turn: process 0 has images 0 and 2, process 1 has 1 and 3."""
    tokens, label = torch.randn(4, 3), torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0]])
    keys, tags = torch.randn(4, 2, 3), torch.arange(8).view(4, 2)
    whole = TagMemory(num_classes=2, channels=3, length=10, momentum=0.9)
    part = TagMemory(num_classes=2, channels=3, length=10, momentum=0.9)
    part.load_state_dict(whole.state_dict())
    whole.follow(tokens, label)
    whole.append(keys, tags)
    given = [*((all_of[0::2], all_of[1::2]) for all_of in (label, tokens, keys, tags))]
    monkeypatch.setattr(tag_memory, 'all_gather', lambda own: next([*two] for two in given if torch.equal(two[0], own)))
    part.follow(tokens[0::2], label[0::2])
    part.append(keys[0::2], tags[0::2])
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(part.state_dict()[name], value, msg=name)
