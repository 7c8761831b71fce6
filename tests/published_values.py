"""docs/faithfulness.md as data: its tables of published values, and the values that the configs and the code have."""

import ast
import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS

from mmseg_wsss.models import cam

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'faithfulness.md').read_text()
# what the Runner and our tools read; other names in a config are variables
READ = {*inspect.signature(Runner.__init__).parameters, 'tta_model', 'tta_pipeline', 'crf', 'label_crf'}
LEFT_OUT = ('paramwise_cfg', 'batch_threshold')  # their absence is the published value


class Row(NamedTuple):
    """A line of a table; ``published`` is ``...`` where nothing is published."""

    value: str
    key: str
    published: object
    ours: object
    same: str


class Section(NamedTuple):
    """The tables of a config: whole, or where ``base`` names another config, what differs from it."""

    config: str
    base: str | None
    rows: list[Row]
    absent: list[str]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip('|').split('|')]


def parse(page: str) -> list[Section]:
    """The sections of the page, in its order."""
    sections = []
    for part in page.split('\n### `')[1:]:
        heading, *lines = part.split('\n## ')[0].splitlines()
        names = re.findall('configs/[^`]+', heading)
        rows = []
        for line in lines:
            if re.match(r'\| [^|]+ \| `', line):
                value, key, published, ours, _, same = _cells(line)
                literals = [plain(ast.literal_eval(text.strip('`'))) for text in (published, ours)]
                rows.append(Row(value, key.strip('`'), *literals, same))
        absent = next((line for line in lines if line.startswith('Without ')), '')
        base = names[1] if len(names) > 1 else None
        sections.append(Section(names[0], base, rows, re.findall('`([^`]+)`', absent)))
    return sections


def keys_without_a_row(page: str) -> list[str]:
    """The patterns in the first column of the table of that name."""
    table = page.split('\n## Keys without a row\n')[1].split('\n## ')[0]
    first = [_cells(line)[0] for line in table.splitlines() if line.startswith('| `')]
    return [key for cell in first for key in re.findall('`([^`]+)`', cell)]


@cache
def resolved(config: str) -> dict:
    """What the Runner and our tools read of a config, with everything that it inherits."""
    return {key: value for key, value in Config.fromfile(ROOT / config).to_dict().items() if key in READ}


def plain(value: Any) -> Any:
    """Tuples as lists: a config may have either."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def constructor(name: str) -> Callable:
    """What holds the defaults of a registered part, or of a function of ``mmseg_wsss.models.cam``."""
    for registry in (MODELS, TRANSFORMS, PARAM_SCHEDULERS):
        if part := registry.get(name):
            return part.__init__
    return getattr(cam, name)


def lookup(cfg: Any, key: str) -> Any:
    """The value under a dotted key; ``Part(name)`` is a default in the code.

    A star stands for every item, and those that lack the rest are left out: a dict gives a dict, a list a list. One of
    ``LEFT_OUT`` may be absent from what holds it and is None then.
    """
    if default := re.fullmatch(r'([\w.]+)\((\w+)\)', key):
        return plain(inspect.signature(constructor(default[1])).parameters[default[2]].default)
    first, _, rest = key.partition('.')
    if first == '*':
        items = list(cfg.items() if isinstance(cfg, dict) else enumerate(cfg))
        head = rest.partition('.')[0]
        found = {name: lookup(one, rest) for name, one in items if isinstance(one, dict) and (head in one)}
        return found if isinstance(cfg, dict) else [*found.values()]
    value = cfg.get(first) if first in LEFT_OUT else cfg[int(first) if isinstance(cfg, list | tuple) else first]
    return lookup(value, rest) if rest else plain(value)


def leaves(value: Any, key: str = '') -> dict[str, Any]:
    """Every value under its dotted key; a list of plain values is one value."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(one, dict | list | tuple) for one in value):
        items = enumerate(value)
    else:
        return {key: plain(value)}
    return {name: leaf for part, one in items for name, leaf in leaves(one, f'{key}.{part}'.lstrip('.')).items()}


def covers(pattern: str, key: str) -> bool:
    """Whether ``pattern``, a dotted key where a star stands for one name, is ``key`` or holds it."""
    parts, names = pattern.split('.'), key.split('.')
    return len(parts) <= len(names) and all(part in ('*', name) for part, name in zip(parts, names, strict=False))


SECTIONS = parse(PAGE)
FREE = keys_without_a_row(PAGE)
