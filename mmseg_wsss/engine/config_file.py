"""Reading a config with the command line's values, and refusing values that would change nothing.

mmengine runs an inherited file before the file that inherits it. A variable of it, such as ``classes`` or
``max_iters``, has done its work then: what was computed from it stays, whatever a later file or ``--cfg-options`` sets
the variable to.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoints import checked

# What mmengine and `tools/test.py --tta` take from a config by name; everything else is read by other lines alone.
_TAKEN = {*inspect.signature(Runner.__init__).parameters, 'tta_pipeline', '_base_'}
_NAMES_OF_CHECKPOINTS = ('load_from', 'pretrained', 'checkpoint')


def read_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """``Config.fromfile`` with options on top, dotted keys as ``--cfg-options`` has them.

    Raises:
        ValueError: the file or an option sets a variable from which values were computed already.
    """
    cfg = Config.fromfile(path)
    own = Path(path).expanduser().read_text(encoding='utf-8')
    below = _assignments(cfg.text[: -len(own)])
    above = _assignments(own)
    read = {name for _, names in above for name in names}
    for name in dict.fromkeys(target for targets, _ in above for target in targets):
        keys = _computed_from(name, below)
        if keys and name not in read and any(name in targets for targets, _ in below):
            raise ValueError(
                f'{path} sets {name} and does not use it: {_those(keys)} were computed from the {name} of the config '
                f'that it inherits, and stay as they are. Set them, or copy that config and set {name} there'
            )
    for name in dict.fromkeys(key.partition('.')[0] for key in options or {}):
        keys = _computed_from(name, below + above)
        if keys:
            raise ValueError(
                f'--cfg-options {name} comes too late: {_those(keys)} were computed from it when {path} was read. '
                f'Set them, or {name} in a copy of the config'
            )
    if options:
        cfg.merge_from_dict(dict(options))
    check_checkpoints(cfg)
    return cfg


def check_checkpoints(value: Any) -> None:
    """Let the files that a config names be read by :func:`~mmseg_wsss.checkpoints.read_checkpoint`, in place.

    mmengine reads a downloaded file (``http://``, ``torchvision://``, ...) with code in it. Names of checkpoints are
    the texts under ``load_from``, ``pretrained`` and ``checkpoint``, as in ``init_cfg``, wherever they are.

    Args:
        value: config or a part of it.
    """
    if isinstance(value, (dict, Config)):
        for key, inner in value.items():
            if key in _NAMES_OF_CHECKPOINTS and inner and isinstance(inner, str):
                value[key] = checked(inner)
            else:
                check_checkpoints(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            check_checkpoints(inner)


def _those(keys: list[str]) -> str:
    return ', '.join(keys[:-1]) + ' and ' + keys[-1] if len(keys) > 1 else f'values of {keys[0]}'


def _assignments(text: str) -> list[tuple[set[str], set[str]]]:
    """Per assignment at the top of config files: the variables that it sets or changes, and those that it reads.

    Args:
        text: of one file, or of several as mmengine joins them, each below a line with its path. Files that are not
            Python give nothing.
    """
    try:
        tree = ast.parse(re.sub(r'(?m)^(/|\w:).*\.\w+$', '', text))
    except SyntaxError:
        return []
    return [
        ({name for target in line.targets for name in _roots(target)}, {*_names(line.value)})
        for line in tree.body
        if isinstance(line, ast.Assign)
    ]


def _roots(target: ast.expr) -> Iterator[str]:
    """``a`` and ``b`` of ``a, b[0].c``."""
    for element in target.elts if isinstance(target, ast.Tuple) else [target]:
        while isinstance(element, (ast.Attribute, ast.Subscript)):
            element = element.value
        if isinstance(element, ast.Name):
            yield element.id


def _names(value: ast.expr) -> Iterator[str]:
    """Variables that an expression reads, those of a base (``_base_.name``) too."""
    for node in ast.walk(value):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == '_base_':
            yield node.attr


def _computed_from(name: str, assignments: list[tuple[set[str], set[str]]]) -> list[str]:
    """What is taken from the config and was computed from a variable, directly or not; nothing for what is taken."""
    found, left = set(), set() if name in _TAKEN else {name}
    while left:
        reader = left.pop()
        new = {target for targets, names in assignments if reader in names for target in targets} - found - {name}
        found |= new
        left |= new - _TAKEN
    return sorted(found & _TAKEN)
