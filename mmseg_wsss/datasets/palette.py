"""Colours for any number of classes."""

from collections.abc import Sequence


def voc_palette(num_colors: int, given: Sequence[Sequence[int]] = ()) -> list[list[int]]:
    """The colours of PASCAL VOC's masks for any number of ids: three bits of an id at a time set a bit per channel.

    Args:
        num_colors: number of ids.
        given: RGB of the first ids in place of PASCAL VOC's.

    Returns:
        RGB in 0..255 for ids 0..num_colors-1. Of PASCAL VOC's own, id 0 is black and no two are alike.
    """
    own = [
        [sum((color >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        for color in range(len(given), num_colors)
    ]
    return [*map(list, given), *own][:num_colors]
