"""Small changes of Python code, each of which some test should notice: mutants of a syntax tree."""

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

_SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_CALLS = {
    'mean': 'sum', 'sum': 'mean', 'min': 'max', 'max': 'min', 'amin': 'amax', 'amax': 'amin', 'any': 'all',
    'all': 'any', 'floor': 'ceil', 'ceil': 'floor', 'argmax': 'argmin', 'argmin': 'argmax', 'minimum': 'maximum',
    'maximum': 'minimum', 'exp': 'log', 'log': 'exp', 'zeros': 'ones', 'ones': 'zeros', 'bilinear': 'nearest',
}  # fmt: skip
_DROPPED_CALLS = ('detach', 'clone', 'copy', 'flip', 'sorted', 'abs', 'sqrt', 'transpose', 'contiguous', 'resolve')
# Where a change is none of behaviour: annotations, texts of errors; decorators are outside of the function.
_UNREAD = ('annotation', 'returns', 'decorator_list', 'exc', 'cause', 'msg')
# Arguments without effect on a result: devices of which a test machine has one, assertions, the defaults of torch.
_NEUTRAL = ('device', 'non_blocking', 'pin_memory', 'strict', 'encoding', 'stacklevel')
_DEFAULTS = ('align_corners=False', "mode='nearest'")


class Mutant(NamedTuple):
    """One change of a tree, made by ``apply()``."""

    line: int
    text: str
    node: ast.AST  # where it is
    apply: Callable[[], None]


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its text."""
    yield from _below(tree)


def _below(parent: ast.AST) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(parent):
        if field in _UNREAD or isinstance(parent, ast.JoinedStr | ast.FormattedValue):
            continue
        items = value if isinstance(value, list) else [value]
        for index, node in enumerate(items):
            if not isinstance(node, ast.AST) or _is_neutral(node):
                continue
            for text, replacement in _changes(node, field):
                yield _mutant(parent, field, index if isinstance(value, list) else None, node, text, replacement)
            yield from _below(node)


def _is_neutral(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg in _NEUTRAL or ast.unparse(node) in _DEFAULTS
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)  # a docstring


def _mutant(
    parent: ast.AST, field: str, index: int | None, node: ast.AST, text: str, replacement: ast.AST | None
) -> Mutant:
    def apply() -> None:
        if replacement is not None:
            ast.fix_missing_locations(ast.copy_location(replacement, node))
        if index is None:
            setattr(parent, field, replacement)
        elif replacement is None:
            del getattr(parent, field)[index]
        else:
            getattr(parent, field)[index] = replacement

    located = node if hasattr(node, 'lineno') else parent
    return Mutant(located.lineno, text, located, apply)


def _changes(node: ast.AST, field: str) -> Iterator[tuple[str, ast.AST | None]]:
    """Text and replacement (None: left out) of every change of one node."""
    if field == 'ifs':
        yield f'without if {ast.unparse(node)}', None
    if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp):
        yield from _operators(node)
    elif isinstance(node, ast.UnaryOp) and not isinstance(getattr(node.operand, 'value', None), int):
        yield f'{ast.unparse(node)} -> {ast.unparse(node.operand)}', node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        negated = type(node)(**{**dict(ast.iter_fields(node)), 'test': ast.UnaryOp(ast.Not(), node.test)})
        yield f'not: {ast.unparse(node.test)}', negated
    elif isinstance(node, ast.keyword) and node.arg:
        yield f'without {ast.unparse(node)}', None
    elif isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield f'without {ast.unparse(node)[:70]}', ast.Pass()


def _operators(node: ast.Compare | ast.BinOp | ast.BoolOp) -> Iterator[tuple[str, ast.AST]]:
    name = 'ops' if isinstance(node, ast.Compare) else 'op'
    operators = node.ops if isinstance(node, ast.Compare) else [node.op]
    of_paths = isinstance(node, ast.BinOp) and any(
        isinstance(side, ast.JoinedStr) or isinstance(getattr(side, 'value', None), str)
        for side in (node.left, node.right)
    )
    for index, operator in enumerate(operators):
        if type(operator) in _SWAPS and not of_paths:
            swapped = [*operators[:index], _SWAPS[type(operator)](), *operators[index + 1 :]]
            new = type(node)(**{**dict(ast.iter_fields(node)), name: swapped if name == 'ops' else swapped[0]})
            yield f'{ast.unparse(node)} -> {ast.unparse(new)}', new


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, bool):
        new = not node.value
    elif isinstance(node.value, int):
        new = node.value + 1
    elif isinstance(node.value, float):
        new = node.value * 2 or 1.0
    else:
        return
    yield f'{node.value} -> {new}', ast.Constant(new)


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
    if name in _CALLS:
        other = _CALLS[name]
        func = (
            ast.Attribute(node.func.value, other, ast.Load())
            if isinstance(node.func, ast.Attribute)
            else ast.Name(other, ast.Load())
        )
        if name not in ('mean', 'amin', 'amax') or isinstance(node.func, ast.Attribute):
            yield f'{ast.unparse(node)[:70]}: {name} -> {other}', ast.Call(func, node.args, node.keywords)
    if name in _DROPPED_CALLS:
        inner = node.func.value if isinstance(node.func, ast.Attribute) else (node.args or [None])[0]
        if inner is not None and not (isinstance(inner, ast.Name) and inner.id in ('torch', 'np', 'F', 'math', 'os')):
            yield f'{ast.unparse(node)[:70]}: without {name}', inner
