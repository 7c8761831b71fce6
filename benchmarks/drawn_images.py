"""Images for benchmarks where no data set is at hand."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (375, 500)  # of most of PASCAL VOC's photographs


def draw_images(folder: Path, count: int, classes: tuple[str, ...]) -> None:
    """Write ``images/NUMBER.jpg``, ``masks/NUMBER.png`` and ``tags.json`` into ``folder``.

    Coloured noise of few and of many pixels: as large and as costly to decode as a photograph. Masks are rectangles of
    one class in the background.
    """
    rng = np.random.default_rng(0)
    for name in ('images', 'masks'):
        (folder / name).mkdir(parents=True)
    height, width = SIZE
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
        pixels = np.asarray(coarse) + rng.normal(0, 12, (height, width, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / 'images' / f'{number}.jpg', quality=90)
        mask = np.zeros(SIZE, dtype=np.uint8)
        mask[height // 4 : height // 4 * 3, width // 4 : width // 4 * 3] = number % len(classes) + 1
        Image.fromarray(mask).save(folder / 'masks' / f'{number}.png')
    tags = {f'{number}.jpg': [classes[number % len(classes)]] for number in range(count)}
    (folder / 'tags.json').write_text(json.dumps(tags))
