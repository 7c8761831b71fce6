"""Which colour stands for which class in masks: the ``labelmap.txt`` of annotation tools."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..fileio import write_text
from ..text_files import read_json, read_text

LABEL_MAP = 'labelmap.txt'
Colour = tuple[int, int, int]
_NO_CLASS = ('ignore', 'ignored', 'void')

# CVAT and datumaro write `cat:128,0,0::` (parts and actions follow), people write `cat 128 0 0`.
_LINE = re.compile(
    r'(?P<name>.*?\S)\s*'
    r'(?::\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::.*)?|[\s,]\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3}))'
)


def read_label_map(path: str | Path) -> dict[Colour, str]:
    """Read a colour table, one line per colour: ``name r g b``, or ``name:r,g,b::`` as annotation tools write it.

    Empty lines and those that begin with ``#`` are left out. A class may have several colours.

    Returns:
        RGB in 0..255 -> class name, in the order of the file.

    Raises:
        ValueError: the file cannot be read, or a line of it; the message has its number.
    """
    lines = read_text(path).splitlines()
    colours: dict[Colour, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith('#'):
            continue
        match = _LINE.fullmatch(line.strip())
        colour = tuple(int(value) for value in match.groups()[1:] if value) if match else ()
        if not colour or max(colour) > 255:
            raise ValueError(f'{path}:{number}: {line!r} should be a name and three numbers 0..255, like "cat 128 0 0"')
        if colour in colours:
            raise ValueError(f'{path}:{number}: {match["name"]!r} has the colour {colour} of {colours[colour]!r}')
        colours[colour] = match['name']
    if not colours:
        raise ValueError(f'{path}: lists no colour')
    return colours


def foreground(table: Mapping[Colour, str]) -> list[str]:
    """The names in a colour table that are classes, in its order: not the background, not what is ignored."""
    return [name for name in dict.fromkeys(table.values()) if name not in ('background', *_NO_CLASS)]


def manifest_classes(manifest: Path) -> tuple[str, ...] | None:
    """The names of the ids 0, 1, ... of masks, from the ``manifest.json`` of ``tools/make_pseudo_labels.py``.

    Returns:
        the names; None for a file of another program, which does not have them.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return tuple(map(str, read_json(manifest)['settings']['classes']))
    except (KeyError, TypeError, IndexError):
        return None


def write_label_map(path: str | Path, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> None:
    """Write the table that annotation tools read.

    Args:
        path: file to write.
        classes: names of the segmentation ids 0, 1, ...
        palette: RGB in 0..255 of at least these ids.
    """
    lines = (
        f'{name}:{",".join(map(str, colour))}::' for name, colour in zip(classes, palette[: len(classes)], strict=True)
    )
    write_text(path, '\n'.join(('# label:color_rgb:parts:actions', *lines)) + '\n')
