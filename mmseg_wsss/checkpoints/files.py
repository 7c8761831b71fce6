"""Weight files: tensors and nothing else, as ``.safetensors`` or as PyTorch's own files."""

import argparse
import importlib
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors import SafetensorError
from torch import Tensor

from ..fileio import whole_file
from .download import fetch
from .zoo import address

_PICKLED = ('.pth', '.pt', '.bin', '.ckpt', '.tar')
_CONTAINERS = ('model', 'state_dict', 'teacher')
_CHECKED = 'checked:'


def _history_method(owner: type, name: str) -> Any:
    """The replacement of ``getattr`` while a checkpoint is read: it returns ``HistoryBuffer``'s statistics only."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise pickle.UnpicklingError(f'GLOBAL {getattr(owner, "__name__", owner)}.{name}')
    return getattr(owner, name)


def _plain_classes() -> list:
    """What a PyTorch file may contain besides tensors; none of it can run code.

    mmengine pickles its log buffers with references to their methods, that is with ``getattr``. The real ``getattr``
    would allow arbitrary code, so it is replaced by a version that knows only those methods.
    """
    core = importlib.import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')
    dtypes = [type(np.dtype(name)) for name in ('float32', 'float64', 'int32', 'int64', 'bool')]
    methods = [(_history_method, f'{module}.getattr') for module in ('builtins', '__builtin__')]
    arrays = [np.dtype, np.ndarray, *dtypes, core.scalar, core._reconstruct]
    return [argparse.Namespace, HistoryBuffer, *methods, *arrays]


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Read a file without running any code from it.

    Besides tensors, numbers, strings and containers of them, a PyTorch file may contain mmengine's log buffers and the
    command line (``argparse.Namespace``) that the training scripts of DeiT and its derivatives store; both are plain
    values.

    Args:
        path: local file; ``.safetensors`` by its suffix, else a file of ``torch.save``. A URL, or a name of mmengine's
            such as ``open-mmlab://resnet50_v1c``, is fetched first (:func:`fetch`, :func:`address`).
        map_location: as for ``torch.load``; a ``.safetensors`` file takes a device only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is something else, such as a saved web page, it is damaged, or would have to run code; or there
            is no such name.
    """
    if '://' in str(path):
        path = fetch(address(str(path)))
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    _refuse_other_formats(path)
    if path.suffix == '.safetensors':
        try:
            return safetensors.torch.load_file(path, device=str(map_location or 'cpu'))
        except SafetensorError as error:
            raise ValueError(f'{path}: not a safetensors file, or truncated ({error})') from error
    try:
        with torch.serialization.safe_globals(_plain_classes()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text is not passed on: it advises to read the file unsafely
        asked = re.search(r'GLOBAL ([\w.]+)', str(error))
        raise ValueError(
            f'{path}: refused, '
            + (f'it needs {asked[1]}, which is not a tensor' if asked else 'it is not a file of tensors')
            + '. No code from it was run. Ask its author for the plain state dict, preferably as .safetensors'
        ) from None
    except (RuntimeError, EOFError) as error:
        if 'TorchScript' in str(error):
            raise ValueError(
                f'{path}: a TorchScript archive, which is a program; if you trust it, write its weights to a file: '
                "torch.save(torch.jit.load(FILE, map_location='cpu').state_dict(), OUT)"
            ) from None
        reason = str(error).partition('\n')[0] or 'it ends too early'
        raise ValueError(f'{path}: cannot be read, damaged or truncated ({reason})') from error


def _refuse_other_formats(path: Path) -> None:
    """Refuse what does not begin as a checkpoint does, before a reader stumbles over it with any kind of error.

    A file of ``torch.save`` is a zip archive or, of old versions, a pickle of protocol 2 or higher; a safetensors file
    begins with the length of its JSON header.
    """
    with path.open('rb') as file:
        head = file.read(40)
    ours = head[8:9] == b'{' if path.suffix == '.safetensors' else head.startswith((b'PK', b'\x80'))
    if not ours:
        raise ValueError(
            f'{path}: no checkpoint: the file has {path.stat().st_size} bytes and begins with {head!r}. '
            'If it came from the internet, remove it and download it again'
        )


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict; of a container (``model``, ``state_dict``, ``teacher``) the other contents are dropped.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_checkpoint`; or the state dict contains anything but tensors.
    """
    state = read_checkpoint(path)
    for container in _CONTAINERS:
        if isinstance(state, dict) and isinstance(state.get(container), dict):
            state = state[container]
    if not isinstance(state, dict) or not state:
        raise ValueError(f'{path}: not a state dict of tensors, but {type(state).__name__}')
    odd = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        names = ', '.join(f'{key} ({type(state[key]).__name__})' for key in odd[:8])
        raise ValueError(f'{path}: not a state dict of tensors: {len(odd)} others, {names}')
    return dict(state)


def write_weights(state: dict[str, Tensor], path: str | Path) -> None:
    """Write a state dict, whole or not at all; ``.safetensors`` by the suffix, else a file of ``torch.save``.

    Raises:
        ValueError: a value is not a tensor, or the suffix is not that of a weight file.
    """
    path = Path(path)
    odd = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise ValueError(f'{path}: not written, because it may contain only tensors, unlike {", ".join(odd[:8])}')
    if path.suffix not in ('.safetensors', *_PICKLED):
        raise ValueError(f'{path}: a weight file ends in .safetensors, {", ".join(_PICKLED)}')
    # safetensors accepts neither views nor two names for the same memory
    plain = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    with whole_file(path) as temporary:
        if path.suffix == '.safetensors':
            safetensors.torch.save_file(plain, temporary, metadata={'format': 'pt'})
        else:
            torch.save(plain, temporary)


def checked(path: str | Path) -> str:
    """The name by which mmengine loads a file or URL through :func:`read_checkpoint`: ``checked:PATH``.

    mmengine's own loader is not changed: it does not know ``.safetensors``, refuses mmengine's checkpoints if torch
    reads tensors only, reports a damaged file in torch's words, and runs what a downloaded file asks for. ``checked:``
    is a scheme like ``http://`` and ``s3://``, for ``load_from``, ``init_cfg`` and ``load_checkpoint``.
    """
    return f'{_CHECKED}{unchecked(path)}'


def unchecked(path: str | Path) -> str:
    """The file or URL that :func:`checked` was given; any other name as it is."""
    return str(path).removeprefix(_CHECKED)


@CheckpointLoader.register_scheme(prefixes=_CHECKED)
def load_from_checked(filename: str, map_location: Any = None) -> Any:
    """mmengine's loader of ``checked:PATH``; its log shows this function's name after ``load_from_``."""
    return read_checkpoint(unchecked(filename), map_location)
