"""Fetch a weight file once: checked, and found again without a network."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
from filelock import FileLock
from pooch import HTTPDownloader

from ..fileio import file_sha256, whole_file
from ..progress import progress_bar
from .zoo import ZOO, find

# torch.hub's convention: the first digits of the SHA-256 before the suffix; eight digits may also be a date
_HASH_IN_NAME = re.compile(r'-(?!(?:19|20)\d{6}\.)([0-9a-f]{8,64})\.\w+$', re.IGNORECASE)


def cache_folder() -> Path:
    """``$MMSEG_WSSS_CACHE``, or the folder of torch.hub, where other OpenMMLab and PyTorch programs look too."""
    own = os.environ.get('MMSEG_WSSS_CACHE')
    return Path(own).expanduser() if own else Path(torch.hub.get_dir()) / 'checkpoints'


def fetch(name_or_url: str, *, folder: str | Path | None = None) -> Path:
    """The local file of a URL, downloaded if it is not in the cache.

    A cached file needs no network. A file gets its name only when it is complete and checked. Processes that request
    the same file wait for each other.

    Args:
        name_or_url: a name of the model zoo (``docs/weights.md``) or an http(s) URL. The SHA-256 is checked against
            that of the zoo or at the end of the file's name (``-cd65a155.pth``), if there is one.
        folder: the cache; by default :func:`cache_folder`.

    Raises:
        ValueError: unknown name; or the file has another SHA-256 than it should.
        ConnectionError: the download failed; the message says where to put a file from elsewhere.
    """
    entry = find(name_or_url)
    url = entry.url if entry else name_or_url
    if urlsplit(url).scheme not in ('http', 'https'):
        names = ', '.join(each.name for each in ZOO)
        raise ValueError(f'{url!r} is neither an http(s) URL nor one of: {names}; a file is named by its path alone')
    path = Path(folder or cache_folder()) / (entry.file if entry else _file_name(url))
    sha256 = entry.sha256 if entry else _hash_in_name(url)
    if not path.is_file():  # otherwise nothing is written: the folder may be read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            if not path.is_file():
                _download(url, path, sha256)
                return path
    _check(path, sha256, url)
    return path


def _file_name(url: str) -> str:
    """The URL's file name if it contains a hash that makes it unique, else preceded by a digest of the URL."""
    name = unquote(urlsplit(url).path).rsplit('/', 1)[-1] or 'weights'
    return name if _hash_in_name(url) else f'{hashlib.sha256(url.encode()).hexdigest()[:8]}_{name}'


def _hash_in_name(url: str) -> str:
    match = _HASH_IN_NAME.search(urlsplit(url).path)
    return match[1].lower() if match else ''


def _download(url: str, path: Path, sha256: str) -> None:
    """Download, check, then give the file its name."""
    # pooch sets the total as soon as it is known; by itself it compares whole hashes only
    with whole_file(path) as temporary, progress_bar(total=1, text=path.name, unit='B', unit_scale=True) as bar:
        try:
            HTTPDownloader(progressbar=bar, chunk_size=1 << 20)(url, str(temporary), None)
        except OSError as error:  # that of requests is one
            raise ConnectionError(
                f'{url} could not be downloaded ({error}). Without a network: put the file at {path} (another '
                'folder: set MMSEG_WSSS_CACHE) or name a local file instead of the URL'
            ) from error
        _check(temporary, sha256, url)


def _check(path: Path, sha256: str, url: str) -> None:
    """Compare the known digits of the SHA-256."""
    actual = file_sha256(path) if sha256 else ''
    if not actual.startswith(sha256):
        raise ValueError(
            f'{path}: its SHA-256 is {actual}, that of {url} begins with {sha256}: delete it and download it again'
        )
