"""Two naming schemes for the weights of a network, as a table that works in both directions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = re.compile(r'(?<=blocks\.|layers\.)\d+')  # the first such number of a name counts the blocks
_SHOWN = 8  # keys per kind in an error message


def names(text: str, *, theirs: str = '', ours: str = '') -> dict[str, str]:
    """Our names by theirs, with ``*`` for the number of a block.

    Args:
        text: a line for each tensor, ``their_name our_name``; names that end in a dot stand for weight and bias.
        theirs, ours: prefixes of the names.
    """
    found = {}
    for line in filter(str.strip, text.splitlines()):
        their_name, our_name = line.split()
        for part in ('weight', 'bias') if their_name.endswith('.') else ('',):
            found[theirs + their_name + part] = ours + our_name + part
    return found


def renamed(key: str, table: Mapping[str, str]) -> str:
    """The name for this key in a table of :func:`names`; a key that is not in it is returned unchanged."""
    match = _BLOCK.search(key)
    pattern = _BLOCK.sub('*', key, count=1)
    return table.get(pattern, pattern).replace('*', match[0] if match else '')


class Constant(NamedTuple):
    """A tensor that only one side has, because the other side computes with this constant value.

    Attributes:
        value: a float gives float32, an integer int64.
        sizes: its shape; a name stands for the length of that tensor of the other side.
        unused: has no effect in the network, so any other value may be dropped.
    """

    value: int | float
    sizes: tuple[int | str, ...] = ()
    unused: bool = False


@dataclass(frozen=True, kw_only=True)
class KeyTable:
    """Renames weights from a published layout to ours and back; anything lost or missing is an error.

    Shapes are checked later, when the result is loaded strictly.

    Attributes:
        layout: name of the published layout, for messages.
        names: our names by theirs.
        transposed: their names of the tensors that are transposed.
        optional: their names of the tensors that may be absent.
        only_theirs, only_ours: tensors that only one side has.
    """

    layout: str
    names: Mapping[str, str]
    transposed: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    only_theirs: Mapping[str, Constant] = field(default_factory=dict)
    only_ours: Mapping[str, Constant] = field(default_factory=dict)

    def to_ours(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published names to ours.

        Raises:
            ValueError: keys are unknown or missing, or have a value that the other side cannot have; all are named.
        """
        return self._convert(state, 'their', 'ours')

    def to_theirs(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our names to the published ones; tensors that only the published network has are added.

        Raises:
            ValueError: as in :meth:`to_ours`.
        """
        back = KeyTable(
            layout=self.layout,
            names={ours: theirs for theirs, ours in self.names.items()},
            transposed=frozenset(self.names[name] for name in self.transposed),
            optional=frozenset(self.names[name] for name in self.optional),
            only_theirs=self.only_ours,
            only_ours=self.only_theirs,
        )
        return back._convert(state, 'our', 'the published network')

    def _convert(self, state: dict[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
        state = {key.removeprefix('module.'): value for key, value in state.items()}
        table = {key: name for name in self.names for key in _of_all_blocks(name, state)}
        converted, unknown, misfits = {}, [], []
        for key, value in state.items():
            constant = self.only_theirs.get(key)
            if constant is None and key not in table:
                unknown.append(key)
            elif constant is None:
                converted[renamed(key, self.names)] = value.T.contiguous() if table[key] in self.transposed else value
            elif not (constant.unused or _equals(value, constant.value)):
                misfits.append(f'{key} is not {constant.value} everywhere')
        problems = {
            'missing': [key for key, name in table.items() if key not in state and name not in self.optional],
            'unknown': unknown,
            f'of a value that {target} cannot have': misfits,
        }
        if any(problems.values()):
            raise ValueError(report_problems(f'not the weights of {self.layout} under {source} names', problems))
        for name, constant in self.only_ours.items():
            shape = [size if isinstance(size, int) else len(state[size]) for size in constant.sizes]
            dtype = torch.float32 if isinstance(constant.value, float) else torch.int64
            converted[name] = torch.full(shape, constant.value, dtype=dtype)
        return converted


@dataclass(frozen=True, kw_only=True)
class SplitTable(KeyTable):
    """A table for a published layout that keeps one of our tensors in two parts, cut along dimension 1.

    Attributes:
        split: our name of the whole tensor.
        parts: names of its parts, those on our side of ``names``.
        length: our name of the tensor that is as long as the first part.
    """

    split: str
    parts: tuple[str, str]
    length: str

    def to_ours(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published names to ours, the parts joined."""
        ours = super().to_ours(state)
        return ours | {self.split: torch.cat([ours.pop(part) for part in self.parts], dim=1)}

    def to_theirs(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our names to the published ones, the whole cut into its parts."""
        state = {key.removeprefix('module.'): value for key, value in state.items()}
        if self.split in state and self.length in state:
            whole, first = state.pop(self.split), state[self.length].shape[1]
            state |= zip(self.parts, (whole[:, :first], whole[:, first:]), strict=True)
        return super().to_theirs(state)


def _equals(value: Tensor, expected: float) -> bool:
    """Whether a tensor has this value everywhere, up to the rounding of a moving average."""
    return bool(torch.all((value.float() - expected).abs() < 1e-4))


def _of_all_blocks(name: str, state: Mapping[str, Tensor]) -> list[str]:
    """The names that a name with ``*`` stands for, one for each block number up to the highest in ``state``."""
    stack = name.partition('*')[0]
    numbers = [
        int(match[0]) for key in state if key.startswith(stack) and (match := re.match(r'\d+', key[len(stack) :]))
    ]
    return [name.replace('*', str(number)) for number in range(max(numbers, default=0) + 1)] if '*' in name else [name]


def report_problems(title: str, problems: Mapping[str, list[str]]) -> str:
    """A message with the number and the first keys of every kind of problem that there is."""
    lines = [f'{title}:']
    for kind, keys in problems.items():
        if keys:
            rest = f' ... and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
            lines.append(f'  {len(keys)} {kind}: ' + '; '.join(keys[:_SHOWN]) + rest)
    return '\n'.join(lines)
