"""The one room for gaps between the versions of the libraries below us.

Every patch looks first whether it is needed, so that a complete installation (full mmcv, CUDA torchvision) is left alone.
"""

import importlib
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
import torch

_OP_HINT = (
    'mmcv op {name!r} needs the compiled mmcv, but mmcv-lite is installed. Install mmcv>=2.0.0rc4,<2.2.0 instead '
    '(https://mmcv.readthedocs.io/en/latest/get_started/installation.html) or choose a part that needs no compiled op.'
)


class _MissingOps(types.ModuleType):
    """Stands for ``mmcv._ext``: importable, and every op says why it cannot run."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def op(*args, **kwargs):
            raise RuntimeError(_OP_HINT.format(name=name))

        return op


def patch_mmcv_ops() -> None:
    """Let ``mmseg.models`` be imported with mmcv-lite, which has no compiled ``mmcv._ext``."""
    if 'mmcv._ext' in sys.modules or importlib.util.find_spec('mmcv._ext') is not None:
        return
    module = _MissingOps('mmcv._ext')
    module.__spec__ = ModuleSpec('mmcv._ext', loader=None)
    sys.modules['mmcv._ext'] = module


def patch_torchvision_ops() -> None:
    """Let a torchvision built for CUDA be imported beside a CPU-only torch, whose operator table lacks its two NMS ops."""
    try:
        importlib.import_module('torchvision')
    except RuntimeError as error:
        if 'torchvision::nms' not in str(error):
            raise
        library = torch.library.Library('torchvision', 'DEF')
        library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        patch_torchvision_ops.library = library  # the definitions live as long as this object
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]
        importlib.import_module('torchvision')


def _history_method(owner: type, name: str):
    """What ``getattr`` is replaced by while a checkpoint is read: it hands out ``HistoryBuffer``'s statistics only."""
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise RuntimeError(f'checkpoint refused: it asks for the attribute {name!r} of {owner!r}')
    return getattr(owner, name)


def allow_mmengine_checkpoints() -> None:
    """Allow-list the few harmless classes of an mmengine checkpoint, so that ``torch.load(weights_only=True)`` reads it.

    mmengine pickles its log buffers with references to their methods, that is with ``getattr``; the real one would open
    every door, so a version that knows only those methods stands in for it.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    core = importlib.import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')
    dtypes = [type(np.dtype(name)) for name in ('float32', 'float64', 'int32', 'int64', 'bool')]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_method, 'builtins.getattr'),
            (_history_method, '__builtin__.getattr'),
            np.dtype,
            np.ndarray,
            *dtypes,
            core.scalar,
            core._reconstruct,
        ]
    )


def apply() -> None:
    """Apply every patch that this environment needs; calling it again changes nothing."""
    patch_mmcv_ops()
    patch_torchvision_ops()
    allow_mmengine_checkpoints()


apply()
