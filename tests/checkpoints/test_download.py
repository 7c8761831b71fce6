"""Downloads from a server on this machine that knows ranges, counts requests and can break off."""

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmseg_wsss.checkpoints import cache_folder, download, fetch, read_weights, write_weights

CONTENT = bytes(range(256)) * 4000  # 1 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f'net-{DIGEST[:8]}.pth'


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content`` under every path but /absent; ``server.drop`` holds where to break off, per request."""

    def do_GET(self):
        server, content = self.server, self.server.content
        asked = self.headers.get('Range')
        server.ranges.append(asked)
        if self.path == '/absent.pth':
            self.send_error(404)
            return
        start = int(re.fullmatch(r'bytes=(\d+)-', asked)[1]) if asked and server.knows_ranges else 0
        condition = self.headers.get('If-Range')
        if condition is not None and condition != server.etag:
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(content)}')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        if server.etag:
            self.send_header('ETag', server.etag)
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        end = server.drop.pop(0) if server.drop else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.content, server.etag, server.knows_ranges = CONTENT, '', True
        server.drop, server.ranges = [], []
        server.url = f'http://127.0.0.1:{server.server_port}'
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
        yield server
        server.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != '.lock')


def test_fetched_once_then_without_a_network(server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_WSSS_CACHE', str(tmp_path / 'cache'))
    assert cache_folder() == tmp_path / 'cache'
    path = fetch(f'{server.url}/weights/{NAME}')
    assert path == tmp_path / 'cache' / NAME
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == [NAME]
    monkeypatch.setattr(download.urllib.request, 'urlopen', None)
    assert fetch(f'{server.url}/weights/{NAME}') == path
    assert server.ranges == [None]


def test_broken_connections_are_gone_on_from(server, tmp_path):
    server.drop = [300_000, 700_000]
    path = fetch(f'{server.url}/{NAME}', folder=tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, 'bytes=300000-', 'bytes=700000-']


def test_an_interrupted_run_is_gone_on_from(server, tmp_path):
    (tmp_path / f'.{NAME}.part').write_bytes(CONTENT[:123_456])
    assert fetch(f'{server.url}/{NAME}', folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ['bytes=123456-']
    (tmp_path / NAME).rename(tmp_path / f'.{NAME}.part')  # killed between the last byte and its name
    assert fetch(f'{server.url}/{NAME}', folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ['bytes=123456-', f'bytes={len(CONTENT)}-']
    assert names(tmp_path) == [NAME]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / f'.{NAME}.part').write_bytes(CONTENT[:1000])
    assert fetch(f'{server.url}/{NAME}', folder=tmp_path).read_bytes() == CONTENT


def test_without_a_hash_the_entity_tag_says_whether_the_rest_belongs_to_it(server, tmp_path):
    url = f'{server.url}/pytorch_model.bin'
    file = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_pytorch_model.bin'
    part = tmp_path / f'.{file}.part'
    part.write_bytes(b'older' * 100)  # no tag: not to be trusted
    server.etag, server.drop = '"one"', [500_000] * 4
    with pytest.raises(ConnectionError, match='the connection broke after 500000 of 1024000 bytes'):
        fetch(url, folder=tmp_path)
    assert part.stat().st_size == 500_000
    assert server.ranges[:2] == [None, 'bytes=500000-']
    server.etag, server.content, server.drop = '"two"', CONTENT[::-1], []
    assert fetch(url, folder=tmp_path).read_bytes() == CONTENT[::-1], 'another file by now'
    assert names(tmp_path) == [file]


def test_wrong_hash_leaves_nothing(server, tmp_path):
    server.content = CONTENT[:-1] + b'x'
    with pytest.raises(ValueError, match=rf'its SHA-256 is {hashlib.sha256(server.content).hexdigest()}.*{DIGEST[:8]}'):
        fetch(f'{server.url}/{NAME}', folder=tmp_path)
    assert names(tmp_path) == []


def test_a_damaged_file_in_the_cache_is_not_used(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=f'{NAME}: its SHA-256 is .* delete it and get it anew'):
        fetch(f'{server.url}/{NAME}', folder=tmp_path)
    assert server.ranges == []


def test_what_cannot_be_had_says_where_to_put_the_file(server, tmp_path):
    with pytest.raises(ConnectionError, match=rf'404.*put the file at {tmp_path}/\w+_absent.pth .*MMSEG_WSSS_CACHE'):
        fetch(f'{server.url}/absent.pth', folder=tmp_path)
    assert len(server.ranges) == 1, 'not tried again'
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
    assert torch.equal(CheckpointLoader.load_checkpoint(url, map_location='cpu')['a'], torch.arange(6.0))
    assert len(server.ranges) == 1


def test_two_at_once_download_once(server, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(f'{server.url}/{NAME}', folder=tmp_path), range(2)))
    assert paths == [tmp_path / NAME] * 2
    assert paths[0].read_bytes() == CONTENT
    assert len(server.ranges) == 1


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('deit_small_patch16_224-cd65a155.pth', 'cd65a155'),
        ('eva02-small_20230505-9c5b0e85.pth', '9c5b0e85'),
        (f'net-{DIGEST}.safetensors', DIGEST),
        ('run-20230505.pth', ''),
        ('dinov2_vits14_pretrain.pth', ''),
    ],
)
def test_hashes_in_file_names(name, found):
    assert download._hash_in_name(f'https://example.org/a-deadbeef.d/{name}?download=true') == found
