"""Colours for any number of classes."""


def voc_palette(num_colors: int) -> list[list[int]]:
    """The colours of PASCAL VOC's masks for any number of ids: three bits of an id at a time set a bit per channel.

    Returns:
        RGB in 0..255 for ids 0..num_colors-1; id 0 is black, no two ids are alike.
    """
    return [
        [sum((color >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        for color in range(num_colors)
    ]
