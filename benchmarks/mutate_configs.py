"""Ask the tests of docs/faithfulness.md whether they notice a change: ``python benchmarks/mutate_configs.py``.

Every number, word and switch of every config on that page is changed and left out, one at a time, in the loaded config;
so is every default in the code and every number of a CRF that the page names. Nothing is written. Printed are how many
changes there are and those that no test notices; then the exit status is 1. Keys under "Keys without a row" are not
changed. One to two minutes.
"""

import copy
import functools
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

import published_values as page
import test_faithfulness as tests

Change = tuple[str, AbstractContextManager]


def others(value: Any) -> Iterator[Any]:
    """Values of the same kind, each different from ``value`` in one place."""
    if isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from ([*value[:index], other, *value[index + 1 :]] for other in others(one))
        yield [*value, 1]
    elif isinstance(value, dict):
        yield {**value, 'another': 1}
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    else:
        yield f'another {value}'


@contextmanager
def config_with(config: str, key: str, *value: Any) -> Iterator[None]:
    """The loaded config with another value under ``key``, or without the key where no value is given."""
    original, cfg = page.resolved, copy.deepcopy(page.resolved(config))
    *outer, last = key.split('.')
    holder = functools.reduce(lambda part, name: part[int(name) if isinstance(part, list) else name], outer, cfg)
    if value:
        holder[last] = value[0]
    else:
        del holder[last]
    with patch.object(page, 'resolved', lambda path: cfg if path == config else original(path)):
        yield


def config_changes(section: page.Section) -> Iterator[Change]:
    """Every value of a config, changed and left out."""
    for key, value in page.leaves(page.resolved(section.config)).items():
        if not tests.free(key):
            for other in others(value):
                yield f'{section.config}: {key} = {other!r}', config_with(section.config, key, other)
            yield f'{section.config}: without {key}', config_with(section.config, key)


def default_changes(section: page.Section) -> Iterator[Change]:
    """Every default in the code that a row names, changed."""
    for row in section.rows:
        if '(' in row.key:
            part, name = row.key.rstrip(')').split('(')
            function = page.constructor(part)
            for other in others(row.ours):
                if name in (function.__kwdefaults__ or {}):
                    change = patch.dict(function.__kwdefaults__, {name: other})
                else:
                    old = function.__defaults__
                    index = function.__code__.co_varnames.index(name) - function.__code__.co_argcount + len(old)
                    change = patch.object(function, '__defaults__', (*old[:index], other, *old[index + 1 :]))
                yield f'{section.config}: {row.key} = {other!r}', change


def crf_changes(section: page.Section) -> Iterator[Change]:
    """Every number of the CRFs that a row names, changed."""
    for name in [row.ours for row in section.rows if row.value.startswith('CRF')]:
        preset = tests.CRF_PRESETS[name]
        new = [preset._replace(num_iter=preset.num_iter + 1)]
        for kernel, numbers in (('gaussian', preset.gaussian), ('bilateral', preset.bilateral)):
            new += [preset._replace(**{kernel: {**numbers, key: numbers[key] + 1}}) for key in numbers]
        for other in new:
            yield f'CRF {name}: {other}', patch.object(tests, 'CRF_PRESETS', {**tests.CRF_PRESETS, name: other})


def noticed(section: page.Section, change: AbstractContextManager) -> bool:
    """Whether a test fails under a change."""
    as_another, whole = tests.test_a_config_as_another_differs_in_its_rows_alone, tests.test_no_value_is_without_a_row
    with change:
        try:
            tests.test_our_column_is_what_config_and_code_have(section)
            (as_another if section.base else whole)(section)
            tests.test_validation_is_the_test(section)
            tests.test_named_crfs_have_the_numbers_of_their_rows()
        except (AssertionError, LookupError):
            return True
        return False


def main() -> int:
    """Print the counts and what nobody notices; returns the exit status."""
    total, survivors = 0, []
    for section in page.SECTIONS:
        changes = [*config_changes(section), *default_changes(section), *crf_changes(section)]
        survivors += [name for name, change in changes if not noticed(section, change)]
        total += len(changes)
        print(f'{len(changes):5d} changes  {section.config}', flush=True)
    print(f'{total} changes, {len(survivors)} not noticed', *survivors, sep='\n')
    return int(bool(survivors))


if __name__ == '__main__':
    sys.exit(main())
