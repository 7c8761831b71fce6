"""All workarounds for differences between the versions of the libraries that this package uses.

Nothing of theirs is replaced. Importing this package adds to them what ``tests/test_imports.py`` lists: a stand-in for
``mmcv._ext`` where it is absent, two operator names for a CUDA build of torchvision beside a CPU build of torch, and
the folder of configs by its name. ``registry.py`` adds children to mmseg's registries, as mmengine means it.
"""

import importlib
import importlib.util
import sys
import types
import warnings
from collections import Counter
from importlib import metadata
from importlib.machinery import ModuleSpec

import torch
from packaging.specifiers import SpecifierSet
from packaging.version import Version

# Module -> the distributions that provide it (upstream first, then the maintained forks), the versions that work, and
# the newest release line that the tests ran with.
_NEEDED = {
    'torch': (('torch',), '>=2.6', '2.13'),  # from 2.6 on torch.load reads tensors only, unless told otherwise
    'mmengine': (('mmengine', 'onedl-mmengine'), '>=0.10.0', '0.10'),
    'mmcv': (('mmcv-lite', 'mmcv', 'onedl-mmcv', 'mmcv-full'), '>=2.0.0,<2.2.0', '2.3'),
    'mmseg': (('mmsegmentation', 'onedl-mmsegmentation'), '>=1.2.0', '1.4'),
    'mmpretrain': (('mmpretrain', 'onedl-mmpretrain'), '>=1.2.0', '1.3'),
}
# mmsegmentation refuses mmcv 2.2 itself; its fork accepts the newer mmcv of its own family.
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
    """Whether the maintained forks ``onedl-*`` are installed instead of OpenMMLab's libraries."""
    return 'onedl-mmsegmentation' in _installed(_NEEDED['mmseg'][0])


def _version_problems(module: str, *, fork: bool) -> list[str]:
    """What is wrong with the installation of one module, each problem with the command that fixes it."""
    distributions, wanted, newest = _NEEDED[module]
    wanted = _FORK_NEEDED.get(module, wanted) if fork else wanted
    found = _installed(distributions)
    if not found:
        if importlib.util.find_spec(module) is not None:  # a source tree on the path: its version is unknown
            return []
        return [f"{module} is missing; fix it with: pip install '{distributions[0]}{wanted}'"]
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
            problems.append(f'{name} {version} cannot work, {wanted} is needed; fix it with: {remedy}')
        elif Version(version).release[:2] > Version(newest).release:
            warnings.warn(
                f'{name} {version} is newer than all versions that mmseg_wsss was tested with ({newest}); '
                f"if something fails: pip install '{name}=={newest}.*'",
                stacklevel=4,
            )
    return problems


def check_versions() -> None:
    """Refuse unsuitable libraries at import, before they fail somewhere deep inside.

    Raises:
        ImportError: libraries are missing or have a wrong version; all are named, with the commands that fix it.
    """
    fork = uses_forks()
    problems = [problem for module in _NEEDED for problem in _version_problems(module, fork=fork)]
    if problems:
        raise ImportError('mmseg_wsss cannot be used with this installation:\n  ' + '\n  '.join(problems))


class ShortInitLog:
    """Mixin of an mmengine model: one line of the log per way of initialisation instead of three per parameter.

    mmengine has no option for it; the two names below are its own.
    """

    def _dump_init_info(self) -> None:
        """Called at the end of ``init_weights`` of the whole model."""
        from mmengine.logging import print_log

        ways: dict[str, Counter] = {}
        for name, parameter in self.named_parameters():
            way = ' '.join(self._params_init_info[parameter]['init_info'].split())
            ways.setdefault(way, Counter())[name.split('.')[0]] += 1
        for way, parts in ways.items():
            counts = ', '.join(f'{count} of {part}' for part, count in parts.items())
            print_log(f'weights: {way}: {counts}', logger='current')


class _MissingOps(types.ModuleType):
    """Stands in for ``mmcv._ext``: importable, and every op raises an error that says why it cannot run."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def op(*args, **kwargs):
            remedy = _FORK_OP_REMEDY if uses_forks() else _OP_REMEDY
            raise RuntimeError(_OP_HINT.format(name=name, remedy=remedy))

        return op


def stand_in_for_mmcv_ops() -> None:
    """Let ``mmseg.models`` be imported with an mmcv that has no compiled ``mmcv._ext``."""
    if 'mmcv._ext' in sys.modules or importlib.util.find_spec('mmcv._ext') is not None:
        return
    module = _MissingOps('mmcv._ext')
    module.__spec__ = ModuleSpec('mmcv._ext', loader=None)
    sys.modules['mmcv._ext'] = module


def name_torchvision_ops() -> None:
    """Let a torchvision built for CUDA be imported beside a CPU-only torch, which lacks its two NMS operators."""
    try:
        importlib.import_module('torchvision')
    except RuntimeError as error:
        if 'torchvision::nms' not in str(error):
            raise
        library = torch.library.Library('torchvision', 'DEF')
        library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        name_torchvision_ops.library = library  # the definitions live as long as this object
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]
        importlib.import_module('torchvision')


def register_config_package() -> None:
    """Let configs inherit from ours, ``_base_ = 'mmseg_wsss::toco/....py'``, and, with the fork, from mmseg's.

    mmengine looks for the ``.mim`` folder of a distribution beside its metadata, which is not where an editable
    installation or a checkout on the path has it. Where no distribution has the name, it looks beside the module.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE.setdefault('mmseg_wsss', 'mmseg_wsss.compat')  # a module, and no distribution
    if uses_forks():
        MODULE2PACKAGE['mmseg'] = 'mmseg'


def apply() -> None:
    """Apply every workaround that this environment needs; calling it again changes nothing."""
    check_versions()
    stand_in_for_mmcv_ops()
    name_torchvision_ops()
    register_config_package()


apply()
