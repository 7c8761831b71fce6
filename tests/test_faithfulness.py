"""docs/faithfulness.md says what the configs hold, and what it calls the same is the same."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'faithfulness.md').read_text()
HEADER = '| value | config key | published | ours | source | same? |'
# what a Runner or a tool reads; other names in a config are variables
READ = (
    'model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator',
    'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg', 'tta_model', 'tta_pipeline', 'crf',
    'label_crf', 'randomness', 'custom_hooks', 'env_cfg',
)  # fmt: skip


class Row(NamedTuple):
    value: str
    key: str
    published: object
    ours: object
    same: str


class Section(NamedTuple):
    config: str
    base: str | None
    rows: list[Row]
    elsewhere: list[str]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip('|').split('|')]


def parse() -> list[Section]:
    sections = []
    for part in PAGE.split('\n### `')[1:]:
        heading, *lines = part.split('\n## ')[0].splitlines()
        names = re.findall('configs/[^`]+', heading)
        rows = []
        for line in lines[lines.index(HEADER) + 2 :]:
            if not line.startswith('|'):
                break
            value, key, published, ours, _, same = cells(line)
            literals = [ast.literal_eval(text.strip('`')) for text in (published, ours)]
            rows.append(Row(value, key.strip('`'), *literals, same))
        other = next((line for line in lines if line.startswith('Another ')), '')
        sections.append(Section(names[0], names[1] if len(names) > 1 else None, rows, re.findall('`([^`]+)`', other)))
    return sections


SECTIONS = parse()
LEFT_OUT = ('paramwise_cfg', 'batch_threshold')  # their absence is the published value


def lookup(cfg: object, key: str) -> object:
    """The value under a dotted key; one of ``LEFT_OUT`` may be absent from what holds it and is None then."""
    *outer, last = key.split('.')
    for name in outer:
        cfg = cfg[int(name) if isinstance(cfg, list | tuple) else name]
    return cfg.get(last) if last in LEFT_OUT else cfg[int(last) if isinstance(cfg, list | tuple) else last]


def plain(value: object) -> object:
    """Tuples as lists: a config may have either."""
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def leaves(value: object, key: str = '') -> dict[str, object]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(one, dict | list | tuple) for one in value):
        items = enumerate(value)
    else:
        return {key: plain(value)}
    return {name: leaf for part, one in items for name, leaf in leaves(one, f'{key}.{part}'.lstrip('.')).items()}


@pytest.mark.parametrize('section', SECTIONS, ids=lambda section: Path(section.config).stem)
def test_our_column_is_the_resolved_config(section):
    cfg = Config.fromfile(ROOT / section.config).to_dict()
    wrong = [
        (row.key, row.ours, found) for row in section.rows if plain(found := lookup(cfg, row.key)) != plain(row.ours)
    ]
    assert wrong == []


@pytest.mark.parametrize('section', SECTIONS, ids=lambda section: Path(section.config).stem)
def test_what_is_called_the_same_is_the_same(section):
    for row in section.rows:
        assert (row.same == 'same') == (plain(row.published) == plain(row.ours)), f'{row.value}: {row.same}'
        assert row.same, f'{row.value}: no reason'


@pytest.mark.parametrize('section', [s for s in SECTIONS if s.base], ids=lambda section: Path(section.config).stem)
def test_a_config_as_another_differs_in_its_rows_alone(section):
    assert section.base in [s.config for s in SECTIONS]
    own, base = (
        leaves({key: cfg[key] for key in READ if key in cfg})
        for cfg in (Config.fromfile(ROOT / path).to_dict() for path in (section.config, section.base))
    )
    told = [row.key for row in section.rows] + section.elsewhere
    differing = {key for key in own.keys() | base.keys() if own.get(key) != base.get(key)}
    untold = {key for key in differing if not any(key == one or key.startswith(f'{one}.') for one in told)}
    assert untold == set()
    assert all(lookup_differs(own, base, row.key) for row in section.rows), 'a row repeats the other config'


def lookup_differs(own: dict, base: dict, key: str) -> bool:
    keys = {name for name in own.keys() | base.keys() if name == key or name.startswith(f'{key}.')}
    return any(own.get(name) != base.get(name) for name in keys)


def test_every_config_with_a_published_number_is_on_the_page():
    numbered = set()
    for path in sorted((ROOT / 'configs').glob('[!_]*/*.py')):
        header = ast.get_docstring(ast.parse(path.read_text()))
        reproduces = header[header.index('Reproduces:') :].split('Expected:')[0]
        if 'nothing published' not in reproduces and not re.search('animals|drawn-scenes', path.stem):
            numbered.add(path.relative_to(ROOT).as_posix())
    assert len(numbered) >= 14
    (upper,) = re.findall(r'The upper bounds have(.*?)\n\n', PAGE, re.DOTALL)
    assert numbered - {section.config for section in SECTIONS} == set(re.findall('`(configs/[^`]+)`', upper))


def test_every_test_named_on_the_page_exists():
    named = re.findall(r'`(tests/[^`]+\.py)::(\w+)`', PAGE)
    assert len(named) >= 10
    for path, name in named:
        assert f'def {name}(' in (ROOT / path).read_text(), f'{path}::{name}'
