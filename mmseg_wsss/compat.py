"""The one room for gaps between the versions of the libraries below us.

Every patch looks first whether it is needed, so that a complete installation (full mmcv, CUDA torchvision) is left
alone.
"""

import functools
import importlib
import importlib.util
import sys
import types
import warnings
from importlib import metadata
from importlib.machinery import ModuleSpec

import numpy as np
import torch
from packaging.specifiers import SpecifierSet

# Module -> the distributions that bring it (upstream first, then the maintained forks) and the versions that can work.
_NEEDED = {
    'torch': (('torch',), '>=2.6'),  # from here on torch.load reads tensors only, unless told otherwise
    'mmengine': (('mmengine', 'onedl-mmengine'), '>=0.10.0,<1.0.0'),
    'mmcv': (('mmcv-lite', 'mmcv', 'onedl-mmcv', 'mmcv-full'), '>=2.0.0,<2.2.0'),
    'mmseg': (('mmsegmentation', 'onedl-mmsegmentation'), '>=1.2.0,<2.0.0'),
    'mmpretrain': (('mmpretrain', 'onedl-mmpretrain'), '>=1.2.0,<2.0.0'),
}
# The fork of mmsegmentation accepts the newer mmcv of its own family.
_FORK_NEEDED = {'mmcv': '>=2.0.0'}

_OP_HINT = 'mmcv op {name!r} needs the compiled mmcv, but {remedy} or choose a part that needs no compiled op.'
_OP_REMEDY = (
    'mmcv-lite is installed. Install mmcv>=2.0.0rc4,<2.2.0 instead '
    '(https://mmcv.readthedocs.io/en/latest/get_started/installation.html)'
)
_FORK_OP_REMEDY = (
    'this onedl-mmcv was built without its ops. Install one with them '
    '(https://onedl-mmcv.readthedocs.io/en/latest/get_started/installation.html)'
)


def _installed(distributions: tuple[str, ...]) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def uses_forks() -> bool:
    """Whether the maintained forks ``onedl-*`` are installed in the place of OpenMMLab's libraries."""
    return 'onedl-mmsegmentation' in _installed(_NEEDED['mmseg'][0])


def _version_problems(module: str, *, fork: bool) -> list[str]:
    """What is wrong with the installation of one module, each with the command that mends it."""
    distributions, wanted = _NEEDED[module]
    wanted = _FORK_NEEDED.get(module, wanted) if fork else wanted
    found = _installed(distributions)
    if not found:
        if importlib.util.find_spec(module) is not None:  # a source tree on the path: no version to judge
            return []
        return [f"{module} is missing; mend it with: pip install '{distributions[0]}{wanted}'"]
    if len(found) > 1:
        warnings.warn(
            f'{" and ".join(found)} are installed together and overwrite each other: uninstall them, install one',
            stacklevel=4,
        )
    problems = []
    for name, version in found.items():
        if not SpecifierSet(wanted).contains(version, prereleases=True):
            remedy = f"pip install '{name}{wanted}'"
            if name == 'mmcv-full':  # the name of mmcv 1.x, of which there is no 2.x
                remedy = f"pip uninstall -y mmcv-full && pip install 'mmcv{wanted}'"
            problems.append(f'{name} {version} cannot work, {wanted} is needed; mend it with: {remedy}')
    return problems


def check_versions() -> None:
    """Refuse libraries that cannot work, before they fail somewhere inside.

    Raises:
        ImportError: a library is missing or of a wrong version; all are named, with the commands that mend it.
    """
    fork = uses_forks()
    problems = [problem for module in _NEEDED for problem in _version_problems(module, fork=fork)]
    if problems:
        raise ImportError('mmseg_wsss cannot be used with this installation:\n  ' + '\n  '.join(problems))


class _MissingOps(types.ModuleType):
    """Stands for ``mmcv._ext``: importable, and every op says why it cannot run."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def op(*args, **kwargs):
            remedy = _FORK_OP_REMEDY if uses_forks() else _OP_REMEDY
            raise RuntimeError(_OP_HINT.format(name=name, remedy=remedy))

        return op


def patch_mmcv_ops() -> None:
    """Let ``mmseg.models`` be imported with an mmcv that has no compiled ``mmcv._ext``."""
    if 'mmcv._ext' in sys.modules or importlib.util.find_spec('mmcv._ext') is not None:
        return
    module = _MissingOps('mmcv._ext')
    module.__spec__ = ModuleSpec('mmcv._ext', loader=None)
    sys.modules['mmcv._ext'] = module


def patch_torchvision_ops() -> None:
    """Let a torchvision built for CUDA be imported beside a CPU-only torch, which lacks its two NMS operators."""
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
    """Allow-list the few harmless classes of an mmengine checkpoint for ``torch.load(weights_only=True)``.

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


def register_config_package() -> None:
    """Let configs inherit from ours, ``_base_ = 'mmseg_wsss::toco/....py'``, and from mmseg's also with its fork.

    mmengine looks a package's ``.mim`` folder up by the name of its distribution, or else of its module.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE.setdefault('mmseg_wsss', 'mmseg_wsss')
    if uses_forks():
        MODULE2PACKAGE['mmseg'] = 'mmseg'


def read_trained_batches_again() -> None:
    """Let a resumed iteration-based training read the batches already trained once more, as upstream mmengine does.

    Its fork moves the sampler on without reading: the same images then come with other crops and colours, because the
    draws of a batch, here or in a worker process, go on from those of the batches before it. Reading them again costs
    the time to load them, and makes a resumed training equal to an uninterrupted one (see ``IterationSeedHook``).
    """
    from mmengine.runner.loops import _InfiniteDataloaderIterator as BatchIterator

    def read(batches: BatchIterator, count: int) -> None:
        for _ in range(count):
            next(batches)

    if hasattr(BatchIterator, 'skip_iter'):
        BatchIterator.skip_iter = read


def patch_accuracy() -> None:
    """Let mmseg's decode heads report ``acc_seg`` without making the host wait for the device twice per step.

    mmseg picks the pixels that count by a mask, so their number has to be known on the host. The value is the same.
    """
    from mmseg.models.decode_heads import decode_head

    if hasattr(decode_head.accuracy, '__wrapped__'):
        return

    @functools.wraps(decode_head.accuracy)
    def accuracy(pred, target, topk=1, thresh=None, ignore_index=None):
        if topk != 1 or thresh is not None or ignore_index is None or not len(pred):
            return accuracy.__wrapped__(pred, target, topk, thresh, ignore_index)
        counts = target != ignore_index
        hits = (pred.argmax(dim=1) == target) & counts
        eps = torch.finfo(torch.float32).eps
        return ((hits.sum() + eps) * 100 / (counts.sum() + eps))[None]

    decode_head.accuracy = accuracy


def apply() -> None:
    """Apply every patch that this environment needs; calling it again changes nothing."""
    check_versions()
    patch_mmcv_ops()
    patch_torchvision_ops()
    allow_mmengine_checkpoints()
    register_config_package()
    read_trained_batches_again()
    patch_accuracy()


apply()
