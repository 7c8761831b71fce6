import sys

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmseg.models.decode_heads import decode_head

from mmseg_wsss import compat


def test_a_compiled_op_says_what_to_install():
    ops = sys.modules.get('mmcv._ext')
    if ops is None or getattr(ops, '__file__', None):
        pytest.skip('full mmcv is installed: nothing is patched')
    remedy = 'Install one with them' if compat.uses_forks() else 'Install mmcv>=2'
    with pytest.raises(RuntimeError, match=rf"'ca_forward_impl' needs the compiled mmcv.*{remedy}"):
        ops.ca_forward_impl()


def test_mmengine_checkpoints_are_read_with_weights_only(tmp_path):
    buffer = HistoryBuffer()
    for value in (1.0, np.float64(4.0)):
        buffer.update(value)
    torch.save({'message_hub': {'loss': buffer}, 'lr': np.float64(0.5)}, tmp_path / 'it.pth')
    read = torch.load(tmp_path / 'it.pth', weights_only=True)
    assert read['message_hub']['loss'].mean() == 2.5
    assert read['message_hub']['loss'].statistics('max') == 4.0
    assert read['lr'] == 0.5


class _Reach:
    """Pickles as ``getattr(dict, 'fromkeys')``: what an attacker's file would ask for."""

    def __reduce__(self):
        return getattr, (dict, 'fromkeys')


def test_getattr_stays_closed(tmp_path):
    torch.save({'x': _Reach()}, tmp_path / 'evil.pth')
    with pytest.raises(Exception, match=r'fromkeys|Unsupported|dict'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


class _Batches:
    """Upstream mmengine's iterator, as far as resuming is concerned."""

    def __init__(self):
        self.read = 0

    def __next__(self):
        self.read += 1


class _SkippingBatches(_Batches):
    """Its fork's."""

    def skip_iter(self, num_iters):
        raise AssertionError('these batches would never be read')


def test_a_resumed_training_reads_the_batches_again(monkeypatch):
    monkeypatch.setattr('mmengine.runner.loops._InfiniteDataloaderIterator', _SkippingBatches)
    compat.read_trained_batches_again()
    batches = _SkippingBatches()
    batches.skip_iter(3)
    assert batches.read == 3


def test_upstream_which_reads_them_is_left_alone(monkeypatch):
    monkeypatch.setattr('mmengine.runner.loops._InfiniteDataloaderIterator', _Batches)
    compat.read_trained_batches_again()
    assert not hasattr(_Batches, 'skip_iter')


@pytest.mark.parametrize('ignored', [0.0, 0.4, 1.0])
def test_accuracy_of_decode_heads_is_that_of_mmseg(ignored):
    accuracy = decode_head.accuracy
    logits, label = torch.randn(2, 3, 5, 6), torch.randint(3, (2, 5, 6))
    label[torch.rand(label.shape) < ignored] = 255
    expected = accuracy.__wrapped__(logits, label, ignore_index=255)
    torch.testing.assert_close(accuracy(logits, label, ignore_index=255), expected, rtol=1e-5, atol=1e-6)


def test_accuracy_asked_for_otherwise_is_left_to_mmseg():
    logits, label = torch.tensor([[3.0, 2.0, 1.0]] * 4), torch.tensor([0, 1, 1, 2])
    assert [round(value.item()) for value in decode_head.accuracy(logits, label, topk=(1, 2))] == [25, 75]
