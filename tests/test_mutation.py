"""The mutants of ``benchmarks/mutation_operators.py``, and how they get into a running process."""

import ast
import sys
import types
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'


@pytest.fixture
def operators(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import mutation_operators

    return mutation_operators


@pytest.fixture
def mutation(operators):
    import mutation_code

    return mutation_code


@pytest.mark.parametrize(
    ('code', 'changed'),
    [
        ('a < b', ['a <= b']),
        ('a and not b', ['a or not b', 'a and b']),
        ('x - 2', ['x + 2', 'x - 3']),
        ('y = f(a, lr=0.5)', ['y = f(a)', 'y = f(a, lr=1.0)']),
        ('y = f(a, device=b)', []),
        ('y = x.mean(1)', ['y = x.sum(1)', 'y = x.mean(2)']),
        ('y = x.detach()', ['y = x']),
        ('x[-1]', ['x[-2]']),
        ('-x', ['x']),
        ("folder / 'a.png'", []),
        ('[x for x in y if x]', ['[x for x in y]']),
        ('y if x else z', ['y if not x else z']),
        ('if x:\n    y += 1', ['if not x:\n    y += 1', 'if x:\n    pass', 'if x:\n    y += 2']),
        ("raise ValueError('1' + str(2))", ['pass']),
        ('x: Literal[1] = True', ['x: Literal[1] = False']),
        ('def f(a: int = 0) -> 1:\n    """Text."""\n    g()', [
            'def f(a: int=1) -> 1:\n    """Text."""\n    g()', 'def f(a: int=0) -> 1:\n    """Text."""\n    pass',
        ]),
    ],
)  # fmt: skip
def test_mutants(operators, code, changed):
    results = []
    for number in range(len(list(operators.mutants(ast.parse(code))))):
        tree = ast.parse(code)
        list(operators.mutants(tree))[number].apply()
        results.append(ast.unparse(tree))
    assert results == changed


CODE = """
LIMIT = 2

def outer(wrapped):
    return lambda *args: wrapped(*args)

@outer
def small(x, most=1):
    return x < most

class Box:
    side = 3

    def area(self):
        return self.side * self.side + LIMIT
"""


def test_a_mutant_changes_what_is_alive(mutation, tmp_path, monkeypatch):
    """Code of methods and decorated functions, defaults, constants of modules and classes."""
    file = tmp_path / 'test_mutated.py'
    file.write_text(CODE)
    monkeypatch.setattr(mutation, 'ROOT', tmp_path)
    texts = [each.text for each in mutation.mutants(ast.parse(CODE))]

    def module() -> types.ModuleType:
        made = types.ModuleType('test_mutated')
        monkeypatch.setitem(sys.modules, 'test_mutated', made)
        exec(compile(CODE, str(file), 'exec'), vars(made))
        return made

    def values(text: str) -> tuple:
        alive = module()
        box = alive.Box()
        wrapped = alive.small.__closure__[0].cell_contents
        assert mutation.change(file, texts.index(text), [wrapped, alive.outer, alive.Box.area])
        return alive.small(1), alive.small(1, 2), box.area()

    assert values('x < most -> x <= most') == (True, True, 11)
    assert values('1 -> 2') == (True, True, 11)  # the default of `most`
    assert values('3 -> 4') == (False, True, 18)
    assert values('2 -> 3') == (False, True, 12)
    assert values('self.side * self.side -> self.side / self.side') == (False, True, 3)
