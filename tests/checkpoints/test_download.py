"""Downloads from the server on this machine."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmseg_wsss.checkpoints import cache_folder, checked, download, fetch, read_weights, write_weights

CONTENT = bytes(range(256)) * 4000  # 1 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f'net-{DIGEST[:8]}.pth'


@pytest.fixture(autouse=True)
def _content(server):
    server.content = CONTENT


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != '.lock')


def test_fetched_once_then_without_a_network(server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_WSSS_CACHE', str(tmp_path / 'cache'))
    assert cache_folder() == tmp_path / 'cache'
    path = fetch(f'{server.url}/weights/{NAME}')
    assert path == tmp_path / 'cache' / NAME
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == [NAME]
    monkeypatch.setattr(download, 'HTTPDownloader', None)
    assert fetch(f'{server.url}/weights/{NAME}') == path
    assert len(server.paths) == 1


def test_a_connection_that_breaks_leaves_nothing(server, tmp_path):
    server.sent = 500_000
    for name in (NAME, 'pytorch_model.bin'):  # whether or not there is a hash to tell
        with pytest.raises(ConnectionError, match=r'500000 bytes read, 524000 more expected'):
            fetch(f'{server.url}/{name}', folder=tmp_path)
        assert names(tmp_path) == []
    server.sent = None
    assert fetch(f'{server.url}/{NAME}', folder=tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME]


def test_a_file_without_a_hash_is_named_after_its_url(server, tmp_path):
    url = f'{server.url}/pytorch_model.bin'
    path = fetch(url, folder=tmp_path)
    assert path.name == f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_pytorch_model.bin'
    assert path.read_bytes() == CONTENT


def test_wrong_hash_leaves_nothing(server, tmp_path):
    server.content = CONTENT[:-1] + b'x'
    with pytest.raises(ValueError, match=rf'its SHA-256 is {hashlib.sha256(server.content).hexdigest()}.*{DIGEST[:8]}'):
        fetch(f'{server.url}/{NAME}', folder=tmp_path)
    assert names(tmp_path) == []


def test_a_damaged_file_in_the_cache_is_not_used(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=f'{NAME}: its SHA-256 is .* delete it and download it again'):
        fetch(f'{server.url}/{NAME}', folder=tmp_path)
    assert server.paths == []


def test_what_cannot_be_had_says_where_to_put_the_file(server, tmp_path):
    with pytest.raises(ConnectionError, match=rf'404.*put the file at {tmp_path}/\w+_absent.pth .*MMSEG_WSSS_CACHE'):
        fetch(f'{server.url}/absent.pth', folder=tmp_path)
    with pytest.raises(ConnectionError, match='could not be downloaded'):
        fetch('http://127.0.0.1:9/net.pth', folder=tmp_path)  # nobody listens
    with pytest.raises(ValueError, match=r"'deit_smal' is neither an http\(s\) URL nor one of: deit_tiny, deit_small"):
        fetch('deit_smal', folder=tmp_path)


def test_weights_are_read_from_an_address(server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_WSSS_CACHE', str(tmp_path))
    write_weights({'a': torch.arange(6.0)}, tmp_path / 'made.safetensors')
    server.content = (tmp_path / 'made.safetensors').read_bytes()
    url = f'{server.url}/net-{hashlib.sha256(server.content).hexdigest()}.safetensors'
    for _ in range(2):
        assert torch.equal(read_weights(url)['a'], torch.arange(6.0))
    assert torch.equal(CheckpointLoader.load_checkpoint(checked(url), map_location='cpu')['a'], torch.arange(6.0))
    assert len(server.paths) == 1


@pytest.mark.parametrize('scheme', ['file', 'FILE', 'ftp', 's3'])
def test_nothing_but_http_is_fetched(tmp_path, scheme):
    (tmp_path / 'net.pth').write_bytes(CONTENT)
    url = f'{scheme}://{tmp_path}/net.pth'
    with pytest.raises(ValueError, match=r'neither an http\(s\) URL') as error:
        fetch(url, folder=tmp_path / 'cache')
    assert str(error.value).startswith(f'{url!r} is neither an http(s) URL nor one of: deit_tiny, deit_small, ')
    assert str(error.value).endswith(', dino_small; a file is named by its path alone')
    assert not (tmp_path / 'cache').exists()


def test_a_server_cannot_send_the_reader_to_a_file_of_this_machine(server, tmp_path):
    (tmp_path / 'net.pth').write_bytes(CONTENT)
    server.elsewhere = f'file://{tmp_path}/net.pth'
    with pytest.raises(ConnectionError, match=r'could not be downloaded .No connection adapters were found for .file:'):
        fetch(f'{server.url}/elsewhere/{NAME}', folder=tmp_path / 'cache')
    assert names(tmp_path / 'cache') == []


@pytest.mark.parametrize('digits', [DIGEST[:8].upper(), DIGEST.upper()])
def test_a_hash_in_capitals_is_checked_too(server, tmp_path, digits):
    assert fetch(f'{server.url}/net-{digits}.pth', folder=tmp_path).name == f'net-{digits}.pth'
    server.content = CONTENT[:-1]
    with pytest.raises(ValueError, match=f'that of .*/net-{digits}.PTH begins with {digits.lower()}: delete it'):
        fetch(f'{server.url}/net-{digits}.PTH', folder=tmp_path)


def test_two_at_once_download_once(server, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(f'{server.url}/{NAME}', folder=tmp_path), range(2)))
    assert paths == [tmp_path / NAME] * 2
    assert paths[0].read_bytes() == CONTENT
    assert len(server.paths) == 1


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('deit_small_patch16_224-cd65a155.pth', 'cd65a155'),
        ('eva02-small_20230505-9c5b0e85.pth', '9c5b0e85'),
        (f'net-{DIGEST}.safetensors', DIGEST),
        ('run-20230505.pth', ''),
        ('deit_small_patch16_224-CD65A155.pth', 'cd65a155'),
        ('dinov2_vits14_pretrain.pth', ''),
    ],
)
def test_hashes_in_file_names(name, found):
    assert download._hash_in_name(f'https://example.org/a-deadbeef.d/{name}?download=true') == found
