"""Fetch a weight file once: checked, resumed where it broke off, and found again without a network."""

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
from filelock import FileLock

from ..fileio import file_sha256
from ..progress import Progress
from .zoo import ZOO, find

_TRIES = 4
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
# torch.hub's convention: the first digits of the SHA-256 before the suffix; eight digits may also be a date
_HASH_IN_NAME = re.compile(r'-(?!(?:19|20)\d{6}\.)([0-9a-f]{8,64})\.\w+$')


def cache_folder() -> Path:
    """``$MMSEG_WSSS_CACHE``, or the folder of torch.hub, where other OpenMMLab and PyTorch programs look too."""
    own = os.environ.get('MMSEG_WSSS_CACHE')
    return Path(own).expanduser() if own else Path(torch.hub.get_dir()) / 'checkpoints'


def fetch(name_or_url: str, *, folder: str | Path | None = None) -> Path:
    """The local file of a URL, downloaded where it is not in the cache.

    A file that is there needs no network. An interrupted download goes on where it stopped, where the SHA-256 or the
    server's entity tag can tell that the rest belongs to it. Processes that ask for the same file wait for each other.

    Args:
        name_or_url: a name of the model zoo (``docs/weights.md``) or an http(s) URL. The SHA-256 is checked that the
            zoo has or that the file's name ends in (``-cd65a155.pth``).
        folder: the cache; by default :func:`cache_folder`.

    Raises:
        ValueError: unknown name; or the file has another SHA-256 than it should.
        ConnectionError: the download failed; the message says where a file from elsewhere is to be put.
    """
    entry = find(name_or_url)
    url = entry.url if entry else name_or_url
    if urlsplit(url).scheme not in ('http', 'https'):
        raise ValueError(f'{url!r} is neither an http(s) URL nor one of: {", ".join(each.name for each in ZOO)}')
    path = Path(folder or cache_folder()) / (entry.file if entry else _file_name(url))
    sha256 = entry.sha256 if entry else _hash_in_name(url)
    if not path.is_file():  # else nothing is written: the folder may be read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            if not path.is_file():
                _download(url, path, sha256)
                return path
    _check(path, sha256, url)
    return path


def _file_name(url: str) -> str:
    """The URL's own file name where it has a hash that makes it unique, else with a digest of the URL in front."""
    name = unquote(urlsplit(url).path).rsplit('/', 1)[-1] or 'weights'
    return name if _hash_in_name(url) else f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_{name}'


def _hash_in_name(url: str) -> str:
    match = _HASH_IN_NAME.search(urlsplit(url).path)
    return match[1] if match else ''


def _check(path: Path, sha256: str, url: str) -> None:
    """Compare the SHA-256 as far as it is known."""
    actual = file_sha256(path) if sha256 else ''
    if not actual.startswith(sha256):
        raise ValueError(
            f'{path}: its SHA-256 is {actual}, that of {url} begins with {sha256}: delete it and get it anew'
        )


def _download(url: str, path: Path, sha256: str) -> None:
    """Download to a hidden file beside ``path``, check it, then give it its name."""
    part = path.with_name(f'.{path.name}.part')
    for attempt in range(1, _TRIES + 1):
        try:
            _transfer(url, part, known=bool(sha256))
            break
        except (OSError, http.client.HTTPException) as error:  # URLError, timeouts and broken connections are OSErrors
            final = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500 and error.code != 416
            if final or attempt == _TRIES:
                raise ConnectionError(
                    f'{url} could not be downloaded ({error}). Without a network: put the file at {path} (another '
                    'folder: set MMSEG_WSSS_CACHE) or name a local file instead of the URL'
                ) from error
            time.sleep(2 ** (attempt - 1) / 2)
    try:
        _check(part, sha256, url)
    except ValueError:
        part.unlink()  # nothing in it can be trusted to go on from
        raise
    finally:
        _tag_file(part).unlink(missing_ok=True)
    os.replace(part, path)


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + '.etag')


def _transfer(url: str, part: Path, *, known: bool) -> None:
    """Append what is missing of ``part``.

    Args:
        known: the whole is checked afterwards, so that a part without an entity tag may be gone on from.
    """
    tag = _tag_file(part).read_text() if _tag_file(part).is_file() else ''
    have = part.stat().st_size if part.is_file() and (tag or known) else 0
    headers = {'User-Agent': 'mmseg_wsss', 'Accept-Encoding': 'identity'}
    if have:
        headers['Range'] = f'bytes={have}-'
        if tag:
            headers['If-Range'] = tag  # another file by now: the server sends all of it
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            if error.headers.get('Content-Range') == f'bytes */{have}':  # it was complete
                return
            part.unlink()
        raise
    with response:
        goes_on = response.status == 206 and response.headers.get('Content-Range', '').startswith(f'bytes {have}-')
        if response.status == 206 and not goes_on:
            part.unlink()
            raise ConnectionError('the server sent another part than was asked for')
        new_tag = response.headers.get('ETag', '')
        if not goes_on:
            have = 0
            _tag_file(part).write_text('' if new_tag.startswith('W/') else new_tag)
        _append(response, part, have)


def _append(response: http.client.HTTPResponse, part: Path, have: int) -> None:
    """Write the body behind the first ``have`` bytes, with progress in megabytes."""
    length = response.headers.get('Content-Length')
    total = have + int(length) if length else None
    name = part.name.removeprefix('.').removesuffix('.part')
    rest = (total or have) - have
    progress = Progress(rest / 1e6, name, shown=total is not None, unit='MB')
    with part.open('ab' if have else 'wb') as file, progress:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            have += len(chunk)
            progress.advance(len(chunk) / 1e6)
    if total is not None and have < total:
        raise ConnectionError(f'the connection broke after {have} of {total} bytes')
