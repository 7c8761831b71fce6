"""What importing the package leaves behind in the libraries below it: entries of its own, nothing replaced."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_wsss.compat import uses_forks

LIBRARIES = ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmpretrain')
PROGRAM = """
import importlib, importlib.util, json, sys, torch._dynamo, mmengine.config, mmengine.runner, mmcv

def held():
    'Every function, class and method of the libraries, also those in tables and registries.'
    found = {}
    for name, module in [*sys.modules.items()]:
        if module is None or name.split('.')[0] not in %(libraries)r:
            continue
        for key, value in [*vars(module).items()]:
            found[f'{name}.{key}'] = value
            if isinstance(value, type) and value.__module__ == name:
                found.update({f'{name}.{key}.{attribute}': part for attribute, part in [*vars(value).items()]})
    for name, value in [*found.items()]:
        table = value.module_dict if type(value) is mmengine.Registry else value
        if type(table) is dict:
            found.update({f'{name}[{key}]': part for key, part in table.items()})
    return {name: part for name, part in found.items() if callable(part) or isinstance(part, (property, staticmethod,
            classmethod, str))}

def changes(before):
    after = held()
    different = [name for name, part in before.items() if after.get(name) is not part]
    return sorted(name for name in different if not name.startswith('torch.compiler._cache.CacheInfo'))  # made anew

before = held()
spec = importlib.util.spec_from_file_location('compat', %(compat)r)
spec.loader.exec_module(importlib.util.module_from_spec(spec))
gaps = changes(before)
importlib.import_module('mmseg.models'), importlib.import_module('mmpretrain.models')
importlib.import_module('mmseg.datasets'), importlib.import_module('mmseg.evaluation')
before = held()
importlib.import_module('mmseg_wsss')
allowed = [getattr(part, '__module__', str(part)) for part in torch.serialization.get_safe_globals()]
print(json.dumps([gaps, changes(before), len(before), allowed]))
"""


@pytest.mark.parametrize('library', LIBRARIES)
def test_nothing_of_others_is_replaced(changed, library):
    gaps, package, _, _ = changed
    replaced = [name for name in (*gaps, *package) if name.split('.')[0] == library]
    if uses_forks():  # whose distribution is not called as mmengine says
        replaced = [name for name in replaced if not name.endswith(('MODULE2PACKAGE[mmseg]', 'PKG2PROJECT[mmseg]'))]
    assert replaced == []


@pytest.fixture(scope='module')
def changed():
    compat = Path(__file__).parents[1] / 'mmseg_wsss' / 'compat.py'
    program = PROGRAM % dict(libraries=LIBRARIES, compat=str(compat))
    done = subprocess.run([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_what_was_compared_is_all_of_them(changed):
    assert changed[2] > 20_000


def test_no_class_is_allowed_for_good(changed):
    assert [module for module in changed[3] if not module.startswith('torch.')] == []
