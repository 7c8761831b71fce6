"""Masks in colours as masks of ids."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmseg_wsss.structures import BACKGROUND, IGNORE

from ..label_map import Colour
from ..mask_files import write_mask
from ..open_image import open_image

_SHOWN = 5


class ColourTask(NamedTuple):
    """A mask to convert, and the id of each colour."""

    source: Path
    target: Path
    ids: Mapping[Colour, int]


def ids_of_table(table: Mapping[Colour, str], classes: Sequence[str]) -> dict[Colour, int]:
    """The id of each colour: ``background`` is 0, the classes are 1, 2, ..., whatever else is in the table is 255.

    Raises:
        ValueError: a class has no colour.
    """
    missing = [name for name in classes if name not in table.values()]
    if missing:
        raise ValueError(
            f'no colour for {", ".join(missing)}; the table has {", ".join(dict.fromkeys(table.values()))}'
        )
    ids = {'background': BACKGROUND} | {name: k for k, name in enumerate(classes, start=1)}
    return {colour: ids.get(name, IGNORE) for colour, name in table.items()}


def read_colours(path: Path, ids: Mapping[Colour, int]) -> np.ndarray:
    """Read a mask by its colours, whatever they are stored as (RGB or palette), uint8 (H, W) of ids.

    Raises:
        FileNotFoundError, ValueError: as :func:`open_image`; or there are colours without an id, which are named with
            their pixels.
    """
    with open_image(path, 'mask') as image:
        rgb = np.asarray(image.convert('RGB')).astype(np.uint32)
    codes, inverse, counts = np.unique(rgb @ [1 << 16, 1 << 8, 1], return_inverse=True, return_counts=True)
    colours = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in codes]
    unknown = [k for k in np.argsort(-counts, kind='stable') if colours[k] not in ids]
    if unknown:
        shown = ', '.join(f'{colours[k]} ({counts[k]} pixels)' for k in unknown[:_SHOWN])
        more = f' and {len(unknown) - _SHOWN} more' if len(unknown) > _SHOWN else ''
        raise ValueError(f'{path}: colours that the table does not have: {shown}{more}')
    return np.array([ids[colour] for colour in colours], np.uint8)[inverse.reshape(rgb.shape[:2])]


def convert_colours(task: ColourTask) -> str | None:
    """Write one mask of ids; what is wrong where its colours cannot be read."""
    try:
        write_mask(task.target, read_colours(task.source, task.ids))
    except (OSError, ValueError) as error:
        return str(error)
    return None
