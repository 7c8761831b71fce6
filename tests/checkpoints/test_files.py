import argparse
import os

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mmseg_wsss.checkpoints import checked, read_checkpoint, read_weights, write_weights


class Evil:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def state():
    whole = torch.randn(6, 4)
    return {'a.weight': whole[:3], 'a.bias': whole[:, 1], 'half': torch.randn(2).half(), 'count': torch.tensor(7)}


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_written_and_read_again(tmp_path, state, suffix):
    path = tmp_path / f'net{suffix}'
    write_weights(state, path)
    read = read_weights(path)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) and read[key].dtype == state[key].dtype for key in state)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_suffix_decides_the_format(tmp_path, state):
    write_weights(state, tmp_path / 'net.safetensors')
    length = int.from_bytes((tmp_path / 'net.safetensors').read_bytes()[:8], 'little')
    assert b'"a.weight"' in (tmp_path / 'net.safetensors').read_bytes()[8 : 8 + length]
    with pytest.raises(ValueError, match=r'net\.npz: a weight file ends in \.safetensors, \.pth'):
        write_weights(state, tmp_path / 'net.npz')
    with pytest.raises(ValueError, match=r'net\.pth: not written, because it may contain only tensors, unlike name'):
        write_weights({**state, 'name': 'net'}, tmp_path / 'net.pth')
    assert [file.name for file in tmp_path.iterdir()] == ['net.safetensors']


@pytest.mark.parametrize('container', ['model', 'state_dict', 'teacher'])
def test_containers_are_opened_and_what_lies_beside_is_left(tmp_path, state, container):
    beside = dict(optimizer={}, epoch=3, args=argparse.Namespace(lr=1e-3, data='/x'))
    torch.save({container: state, **beside}, tmp_path / 'net.pth')
    assert read_weights(tmp_path / 'net.pth').keys() == state.keys()
    assert read_checkpoint(tmp_path / 'net.pth')['args'].lr == 1e-3


def test_our_own_checkpoints_with_log_buffers(tmp_path, state):
    buffer = HistoryBuffer()
    for value in (1.0, np.float64(4.0)):
        buffer.update(value)
    file = dict(state_dict=state, message_hub={'loss': buffer}, lr=np.float64(0.5))
    torch.save(file, tmp_path / 'iter_1.pth')
    read = read_checkpoint(tmp_path / 'iter_1.pth')
    assert read['message_hub']['loss'].mean() == 2.5
    assert read['message_hub']['loss'].statistics('max') == 4.0
    assert read['lr'] == 0.5


class Reach:
    """Pickles as ``getattr(owner, name)``: what an attacker's file would ask for."""

    def __init__(self, owner, name):
        self.asked = owner, name

    def __reduce__(self):
        return getattr, self.asked


@pytest.mark.parametrize(
    ('owner', 'name', 'told'), [(dict, 'fromkeys', 'dict'), (HistoryBuffer, 'update', r'\w+\.update')]
)
def test_getattr_stays_closed(tmp_path, owner, name, told):
    torch.save({'x': Reach(owner, name)}, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=rf'evil\.pth: refused, it needs {told}, which is not a tensor'):
        read_checkpoint(tmp_path / 'evil.pth')


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('read', [read_checkpoint, lambda path: CheckpointLoader.load_checkpoint(checked(path))])
def test_code_in_a_file_is_not_run(tmp_path, state, monkeypatch, zipped, read):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # opens torch.load where nothing is said
    path, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
    torch.save({**state, 'x': Evil(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r'evil\.pth: refused, .*mkdir.*No code from it was run') as error:
        read(str(path))
    assert not trace.exists()
    assert 'weights_only' not in str(error.value), "torch's advice to read it all the same is not passed on"


def test_other_values_in_the_state_dict(tmp_path, state):
    torch.save({**state, 'names': ['cat'], 'size': 3}, tmp_path / 'odd.pth')
    with pytest.raises(ValueError, match=r'odd\.pth: .*2 others, names \(list\), size \(int\)'):
        read_weights(tmp_path / 'odd.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match=r'list\.pth: not a state dict of tensors, but list'):
        read_weights(tmp_path / 'list.pth')


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_files_that_are_cut_short_or_something_else(tmp_path, state, suffix):
    path = tmp_path / f'net{suffix}'
    write_weights(state, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b'', b'<html>Not found</html>' * 9):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)):
            read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match='there is no checkpoint file'):
        read_checkpoint(tmp_path / 'absent.pth')


PAGES = {
    'words.pth': b'too many requests',
    'page.pth': b'<!DOCTYPE html>\n<html>Not found</html>' * 9,
    'answer.bin': b'{"error": "gone"}',
    'pointer.pth': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5',
    'empty.pth': b'',
    'page.safetensors': b'<html>Not found</html>',
    'short.safetensors': b'no',
}


@pytest.mark.parametrize('name', PAGES)
def test_a_text_is_no_checkpoint_and_the_message_shows_it(tmp_path, name):
    (tmp_path / name).write_bytes(PAGES[name])
    with pytest.raises(ValueError, match='no checkpoint') as error:
        read_checkpoint(tmp_path / name)
    assert str(error.value) == (
        f'{tmp_path / name}: no checkpoint: the file has {len(PAGES[name])} bytes and begins with '
        f'{PAGES[name][:40]!r}. If it came from the internet, remove it and download it again'
    )


def test_torchscript_says_how_to_get_the_weights(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / 'clip.pt')
    with pytest.raises(ValueError, match=r'clip\.pt: a TorchScript archive.*torch\.jit\.load\(FILE') as error:
        read_checkpoint(tmp_path / 'clip.pt')
    assert 'if you trust it' in str(error.value)


def test_mmengine_loads_safetensors_by_its_own_function(tmp_path):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    write_weights(source.state_dict(), tmp_path / 'net.safetensors')
    load_checkpoint(target, checked(tmp_path / 'net.safetensors'), map_location='cpu', strict=True)
    assert torch.equal(target.weight, source.weight)
