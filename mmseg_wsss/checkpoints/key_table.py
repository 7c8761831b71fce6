"""Two namings of one network's weights as a table that is read in either direction."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_SHOWN = 8  # keys per kind in an error message


@dataclass(frozen=True, kw_only=True)
class Row:
    """One tensor, or with ``*`` for the number of a block one of each block.

    Attributes:
        theirs, ours: its names; None where one side has no such tensor.
        shape: sizes with letters for those that vary from network to network, e.g. ``1,T+N,D`` or ``3D,D``.
        transposed: ours is the transpose; ``shape`` is theirs.
        optional: may be absent.
        unused: does not count in the network, so its value may be lost.
        value: what it is where one side has none.
    """

    theirs: str | None
    ours: str | None
    shape: str
    transposed: bool = False
    optional: bool = False
    unused: bool = False
    value: int | float | None = None


def rows(text: str, *, theirs: str = '', ours: str = '') -> tuple[Row, ...]:
    """Read rows: ``their_name our_name shape`` and, after them, ``transposed``, ``optional``, ``unused`` or a value.

    ``-`` stands for a side without this tensor. A value with a point makes float32, one without int64.

    Args:
        text: one row per line.
        theirs, ours: put in front of the names.
    """
    found = []
    for line in filter(str.strip, text.splitlines()):
        their_name, our_name, shape, *flags = line.split()
        found.append(
            Row(
                theirs=None if their_name == '-' else theirs + their_name,
                ours=None if our_name == '-' else ours + our_name,
                shape=shape,
                transposed='transposed' in flags,
                optional='optional' in flags,
                unused='unused' in flags,
                value=next((_number(flag) for flag in flags if flag[0].isdigit()), None),
            )
        )
    return tuple(found)


def _number(text: str) -> int | float:
    return float(text) if '.' in text else int(text)


class KeyTable:
    """Renames weights from a published layout to ours and back; nothing is lost or made up unnoticed.

    Args:
        name: of the published layout, for messages.
        table: its rows. The sizes are solved in their order, so each row has at most one letter that is not yet known.
    """

    def __init__(self, name: str, table: Iterable[Row]) -> None:
        self.name = name
        self.table = tuple(table)

    def to_ours(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published names to ours.

        Raises:
            ValueError: keys are unknown, missing, of a shape that does not fit the others, or of a value that the
                other side cannot have; all are named.
        """
        return self._convert(state, 'theirs', 'ours')

    def to_theirs(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our names to the published ones; parts that only the published network has are filled in.

        Raises:
            ValueError: as in :meth:`to_ours`.
        """
        return self._convert(state, 'ours', 'theirs')

    def _convert(self, state: dict[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
        state = {key.removeprefix('module.'): value for key, value in state.items()}
        sizes: dict[str, int] = {}
        missing, misshapen, inexpressible, converted = [], [], [], {}
        unknown = dict.fromkeys(state)
        for row in _expanded(self.table, state, source):
            key, name = getattr(row, source), getattr(row, target)
            if key is None:
                converted[name] = _filled(row, sizes)
                continue
            unknown.pop(key, None)
            if key not in state:
                if name is not None and not row.optional:
                    missing.append(key)
                continue
            value = state[key]
            if name is None:
                if not row.unused and not _equals(value, row.value):
                    inexpressible.append(f'{key} is not {row.value} everywhere')
                continue
            formula = ','.join(row.shape.split(',')[::-1]) if row.transposed and source == 'ours' else row.shape
            problem = _misfit(tuple(value.shape), formula, sizes)
            if problem:
                misshapen.append(f'{key}: {problem}')
            converted[name] = value.T.contiguous() if row.transposed else value
        problems = {
            'missing': missing,
            'unknown': list(unknown),
            'of a shape that does not fit the others': misshapen,
            f'of a value that {"ours" if target == "ours" else "the published network"} cannot have': inexpressible,
        }
        if any(problems.values()):
            raise ValueError(_report(f'not the weights of {self.name} under {source[:-1]} names', problems))
        return converted


def _expanded(table: Iterable[Row], state: dict[str, Tensor], source: str) -> list[Row]:
    """The rows with numbers in place of ``*``: as many as the highest block of any row of that stack has."""
    depths: dict[str, int] = {}
    for key in state:
        for match in re.finditer(r'(?<=\.)\d+(?=\.)', key):
            stack = key[: match.start()]
            depths[stack] = max(depths.get(stack, 0), int(match[0]) + 1)
    found = []
    for row in table:
        key = getattr(row, source)
        if key is None or '*' not in key:
            found.append(row)
            continue
        for index in range(depths.get(key.split('*')[0], 1)):
            names = {side: getattr(row, side) and getattr(row, side).replace('*', str(index)) for side in _SIDES}
            found.append(replace(row, **names))
    return found


_SIDES = ('theirs', 'ours')


def _misfit(actual: tuple[int, ...], shape: str, sizes: dict[str, int]) -> str | None:
    """Compare with the formula, learning letters that are not known yet; what is wrong, or None."""
    formula = [] if shape == '()' else shape.split(',')
    if len(formula) == len(actual):
        for size, text in zip(actual, formula, strict=True):
            constant, factors = _parsed(text)
            new = [letter for letter in factors if letter not in sizes]
            if new:
                (letter,) = new
                rest = size - constant - sum(factors[known] * sizes[known] for known in factors if known != letter)
                if rest > 0 and rest % factors[letter] == 0:
                    sizes[letter] = rest // factors[letter]
        if all(_value(text, sizes) == size for text, size in zip(formula, actual, strict=True)):
            return None
    letters = sorted(set(re.findall('[A-Z]', shape)) & sizes.keys())
    known = ', '.join(f'{letter} = {sizes[letter]}' for letter in letters)
    return f'{actual}, expected ({shape})' + (f' with {known}' if known else '')


def _parsed(text: str) -> tuple[int, dict[str, int]]:
    """``3D+1`` to 1 and {D: 3}."""
    constant, factors = 0, {}
    for term in text.split('+'):
        if term.isdigit():
            constant += int(term)
        else:
            factors[term[-1]] = int(term[:-1] or 1)
    return constant, factors


def _value(text: str, sizes: dict[str, int]) -> int | None:
    """The size that the formula gives; None where a letter is not known."""
    constant, factors = _parsed(text)
    if not factors.keys() <= sizes.keys():
        return None
    return constant + sum(factor * sizes[letter] for letter, factor in factors.items())


def _filled(row: Row, sizes: dict[str, int]) -> Tensor:
    """The tensor that only the target has; its size is 0 where the row that tells it was missing, which is reported."""
    formula = [] if row.shape == '()' else row.shape.split(',')
    shape = [_value(text, sizes) or 0 for text in formula]
    return torch.full(shape, row.value, dtype=torch.float32 if isinstance(row.value, float) else torch.int64)


def _equals(value: Tensor, expected: float | None) -> bool:
    """Up to the rounding of a moving average."""
    return bool(torch.all((value.float() - expected).abs() < 1e-4))


def _report(title: str, problems: dict[str, list[str]]) -> str:
    lines = [f'{title}:']
    for kind, keys in problems.items():
        if keys:
            rest = f' ... and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
            lines.append(f'  {len(keys)} {kind}: ' + '; '.join(keys[:_SHOWN]) + rest)
    return '\n'.join(lines)
