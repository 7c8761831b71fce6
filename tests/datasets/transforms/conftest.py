"""What the tests of the pipeline share."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image


@pytest.fixture(autouse=True)
def _scope():
    """Let mmcv's transforms find ours, as the runner does."""
    init_default_scope('mmseg')


@pytest.fixture
def coordinates():
    """``coordinates(height, width)`` gives an image (H, W, 3) whose pixels hold (row, column, 255), each below 256."""

    def draw(height: int, width: int) -> np.ndarray:
        rows, columns = np.mgrid[:height, :width]
        return np.stack([rows, columns, np.full_like(rows, 255)], axis=-1).astype(np.uint8)

    return draw


@pytest.fixture
def photo(tmp_path):
    """A colourful 60 x 80 JPEG file."""
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path = tmp_path / 'photo.jpg'
    Image.fromarray(small).resize((80, 60), Image.BICUBIC).save(path, quality=95)
    return str(path)
