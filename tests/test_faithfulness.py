"""docs/faithfulness.md says what the configs hold, and what it calls the same is the same.

``benchmarks/mutate_configs.py`` changes every value to see whether a test of this file notices.
"""

import ast
import re
from pathlib import Path

import published_values
import pytest
from published_values import FREE, PAGE, ROOT, SECTIONS, Section, covers, leaves, lookup

from mmseg_wsss.models.refiners import CRF_PRESETS

for_every_section = pytest.mark.parametrize('section', SECTIONS, ids=lambda section: Path(section.config).stem)
for_every_whole_one = pytest.mark.parametrize(
    'section', [one for one in SECTIONS if not one.base], ids=lambda section: Path(section.config).stem
)


def resolved(section: Section) -> dict:
    return published_values.resolved(section.config)


def free(key: str) -> bool:
    return any(covers(pattern, key) for pattern in FREE)


@for_every_section
def test_our_column_is_what_config_and_code_have(section):
    wrong = [
        (row.key, row.ours, found) for row in section.rows if (found := lookup(resolved(section), row.key)) != row.ours
    ]
    assert wrong == []
    keys = leaves(resolved(section))
    assert [key for key in keys if any(covers(absent, key) for absent in section.absent)] == []


@for_every_section
def test_what_is_called_the_same_is_the_same(section):
    for row in section.rows:
        assert (row.same == 'same') == (row.published == row.ours), f'{row.value}: {row.same}'
        assert row.same, f'{row.value}: no reason'


@for_every_whole_one
def test_no_value_is_without_a_row(section):
    """A new key in a config needs a row here, or a place and a reason in the table of those without one."""
    keys = leaves(resolved(section))
    assert [key for key in keys if not free(key) and not any(covers(row.key, key) for row in section.rows)] == []


@pytest.mark.parametrize('section', [s for s in SECTIONS if s.base], ids=lambda section: Path(section.config).stem)
def test_a_config_as_another_differs_in_its_rows_alone(section):
    assert section.base in [s.config for s in SECTIONS]
    own, base = (leaves(published_values.resolved(path)) for path in (section.config, section.base))
    told = [row.key for row in section.rows] + section.absent
    differing = {key for key in own.keys() | base.keys() if own.get(key, ...) != base.get(key, ...)}
    assert {key for key in differing if not free(key) and not any(covers(one, key) for one in told)} == set()
    repeated = [one for one in told if '(' not in one and not any(covers(one, key) for key in differing)]
    assert repeated == [], 'as in the other config'


@for_every_section
def test_validation_is_the_test(section):
    cfg = resolved(section)
    assert cfg['val_dataloader'] == cfg['test_dataloader']
    assert cfg['val_evaluator'] == cfg['test_evaluator']


def test_keys_without_a_row_are_keys():
    keys = {key for section in SECTIONS for key in leaves(resolved(section))}
    assert [pattern for pattern in FREE if not any(covers(pattern, key) for key in keys)] == []
    rows = {row.key for section in SECTIONS for row in section.rows}
    assert {key for key in rows if free(key)} == set(), 'either a row or none'


def test_named_crfs_have_the_numbers_of_their_rows():
    """``CRF: 10 iterations, (Gaussian sxy, compat), (bilateral sxy, srgb, compat)``."""
    rows = [row for section in SECTIONS for row in section.rows if row.value.startswith('CRF')]
    assert {row.ours for row in rows} == set(CRF_PRESETS)
    for row in rows:
        preset = CRF_PRESETS[row.ours]
        said = re.fullmatch(r'CRF.*: (\d+) iterations, (\(.*\)), (\(.*\))', row.value)
        numbers = (preset.num_iter, tuple(preset.gaussian.values()), tuple(preset.bilateral.values()))
        assert tuple(map(ast.literal_eval, said.groups())) == numbers, row.value


def test_every_config_with_a_published_number_is_on_the_page():
    numbered = set()
    for path in sorted((ROOT / 'configs').glob('[!_]*/*.py')):
        header = ast.get_docstring(ast.parse(path.read_text()))
        reproduces = header[header.index('Reproduces:') :].split('Expected:')[0]
        if 'nothing published' not in reproduces and not re.search('animals|drawn-scenes', path.stem):
            numbered.add(path.relative_to(ROOT).as_posix())
    assert len(numbered) >= 14
    assert numbered == {section.config for section in SECTIONS}


def test_every_test_named_on_the_page_exists():
    named = re.findall(r'`(tests/[^`]+\.py)::(\w+)`', PAGE)
    assert len(named) >= 10
    for path, name in named:
        assert f'def {name}(' in (ROOT / path).read_text(), f'{path}::{name}'
