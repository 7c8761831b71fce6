"""Put one mutant into a running process: its code objects, defaults and constants are replaced where they are alive."""

import ast
import sys
import types
from collections import Counter
from pathlib import Path
from unittest.mock import patch

from mmengine.registry import Registry
from mutation_operators import Mutant, mutants

ROOT = Path(__file__).parents[1]


def change(file: Path, number: int, own: list[types.FunctionType]) -> bool:
    """Put a mutant into the running process; False where nothing that is alive changed.

    Args:
        file, number: the mutant.
        own: all functions of the file that are alive.
    """
    tree = ast.parse(file.read_text())
    before = _codes(compile(tree, str(file), 'exec'))
    mutant: Mutant = list(mutants(tree))[number]
    mutant.apply()
    after = _codes(compile(ast.fix_missing_locations(tree), str(file), 'exec'))
    changed = False
    for key, code in after.items():
        old = before.get(key)
        if old is None or old == code or key[0] == '<module>':
            continue
        for function in (each for each in own if each.__code__ == old):
            if old.co_freevars != code.co_freevars:  # without `super()` a method has no cell for its class
                return False
            function.__code__ = code
            changed = True
    return changed or _change_values(tree, file, mutant, own)


def _change_values(tree: ast.Module, file: Path, mutant: Mutant, own: list[types.FunctionType]) -> bool:
    """Defaults of functions, constants of classes and modules: evaluated again where they were defined."""
    module = sys.modules[module_name(file)]
    around = owner(tree, mutant.node)
    if isinstance(around, ast.FunctionDef):
        code = ast.Module(
            [ast.FunctionDef(**{**dict(ast.iter_fields(around)), 'decorator_list': [], 'body': [ast.Pass()]})], []
        )
        scope: dict = {}
        exec(compile(ast.fix_missing_locations(code), str(file), 'exec'), dict(vars(module)), scope)
        new = scope[around.name]
        alive = [
            each for each in own if each.__name__ == around.name and _first_line(around) == each.__code__.co_firstlineno
        ]
        for function in alive:
            function.__defaults__, function.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
        return bool(alive)
    if isinstance(around, ast.ClassDef):
        return _change_class(vars(module)[around.name], around, file, vars(module), mutant.line)
    return _change_module(module, compile(ast.fix_missing_locations(tree), str(file), 'exec'))


def _change_class(holder: type, definition: ast.ClassDef, file: Path, scope: dict, line: int) -> bool:
    """Evaluate the constant of a class again that a mutant changed."""
    statement = next(each for each in definition.body if each.lineno <= line <= each.end_lineno)
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, 'target', None)
    if not isinstance(target, ast.Name) or statement.value is None or hasattr(holder, '_fields'):
        return False
    value = eval(compile(ast.Expression(statement.value), str(file), 'eval'), {**scope, **vars(holder)})
    setattr(holder, target.id, value)
    return True


def _change_module(module: types.ModuleType, code: types.CodeType) -> bool:
    """Run a module again beside itself, and put its new constants where the old ones are; functions stay."""
    again = {name: value for name, value in vars(module).items() if name.startswith('__')}
    with patch.object(Registry, 'register_module', lambda self, *args, **kwargs: lambda part: part):
        exec(code, again)
    known = [each for name, each in sys.modules.items() if name.startswith(('mmseg_wsss', 'test'))]
    for name, new in again.items():
        old = vars(module).get(name)
        if name.startswith('__') or isinstance(new, type | types.FunctionType | types.ModuleType):
            continue
        for other in known:  # those that imported the name have their own reference
            if vars(other).get(name) is old:
                setattr(other, name, new)
    return True


def owner(tree: ast.Module, node: ast.AST) -> ast.AST:
    """The innermost function or class around a node, or the module."""
    line = getattr(node, 'lineno', 1)
    around = [
        each
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.lineno <= line <= each.end_lineno
    ]
    return max(around, key=lambda each: each.lineno, default=tree)


def _codes(code: types.CodeType) -> dict[tuple[str, int, int], types.CodeType]:
    """All code objects in a compiled module by name, line and order."""
    found, seen = {}, Counter()
    stack = [code]
    while stack:
        each = stack.pop(0)
        key = (each.co_qualname if hasattr(each, 'co_qualname') else each.co_name, each.co_firstlineno)
        found[(*key, seen[key])] = each
        seen[key] += 1
        stack = [const for const in each.co_consts if isinstance(const, types.CodeType)] + stack
    return found


def module_name(file: Path) -> str:
    """``mmseg_wsss.models`` of a path."""
    return '.'.join(file.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def _first_line(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(each.lineno for each in function.decorator_list)])
