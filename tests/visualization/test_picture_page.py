"""Colours by hand, the page as it lies on disk, and what is refused."""

import numpy as np
import pytest
from mmseg.utils import get_palette
from PIL import Image

from mmseg_wsss.visualization import PictureRow, colorize, heat, overlay, picture_page, save_page, without_photos

CLASSES = ('background', 'cat', 'dog')


def row(height=20, width=30, **changes):
    rng = np.random.default_rng(0)
    values = {
        'image': rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        'cam': rng.random((2, height, width)).astype(np.float32),
        'pseudo_label': rng.choice([0, 1, 255], (height, width)),
        'prediction': rng.choice([0, 1, 2], (height, width)),
        'ground_truth': rng.choice([0, 1, 255], (height, width)),
        'title': 'cat',
    }
    return PictureRow(**{**values, **changes})


def test_colours_are_those_of_the_palette_and_pascal_voc():
    mask = np.array([[0, 1], [20, 255]])
    assert colorize(mask, [])[0].tolist() == get_palette('voc')[:2]
    assert colorize(mask, [])[1].tolist() == [get_palette('voc')[20], [224, 224, 192]]
    assert colorize(mask, [[1, 2, 3], [4, 5, 6]])[0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_overlay_blends():
    image, colours = np.full((1, 2, 3), 100, np.uint8), np.full((1, 2, 3), 200, np.uint8)
    opacity = np.array([[[0.0], [0.25]]])
    assert overlay(image, colours, opacity).tolist() == [[[100] * 3, [125] * 3]]


def test_heat_shows_the_strongest_class():
    image = np.zeros((1, 2, 3), np.uint8)
    one = heat(image, np.array([[[0.9, 0.1]], [[0.2, 0.9]]]))
    assert one[0, 0].tolist() == one[0, 1].tolist()
    assert heat(image, np.array([[[0.9, 0.1]]]))[0, 0].tolist() != heat(image, np.array([[[0.9, 0.1]]]))[0, 1].tolist()


def test_a_page_without_photographs_shows_none_of_their_pixels():
    (hidden,) = without_photos([row(image=np.full((20, 30, 3), 77, np.uint8))])
    figure = picture_page([hidden], classes=CLASSES)
    assert [axis.get_title() for axis in figure.axes] == ['CAM', 'pseudo-label', 'prediction', 'ground truth']
    shown = figure.axes[2].images[0].get_array()  # 75 % colour over white, wherever it is
    expected = overlay(np.full((20, 30, 3), 255, np.uint8), colorize(hidden.prediction, []), 0.75)
    np.testing.assert_array_equal(shown, expected)


def test_page(tmp_path):
    rows = [row(), row(height=40, width=20, ground_truth=None, title='no mask')]
    figure = picture_page(rows, classes=CLASSES, palette=[[0, 0, 0], [250, 0, 0], [0, 250, 0]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*CLASSES, 'uncertain / ignored']
    assert [axis.get_title() for axis in figure.axes[:5]] == [
        'image',
        'CAM',
        'pseudo-label',
        'prediction',
        'ground truth',
    ]
    assert [len(axis.images) for axis in figure.axes] == [1] * 9 + [0]
    assert np.array_equal(figure.axes[0].images[0].get_array(), rows[0].image)
    save_page(figure, tmp_path / 'pages' / 'page.png', dpi=50)
    assert [path.name for path in (tmp_path / 'pages').iterdir()] == ['page.png']
    with Image.open(tmp_path / 'pages' / 'page.png') as page:
        assert page.size[0] == 650
        assert len(page.convert('RGB').getcolors(1 << 20)) > 500


def test_failed_writing_leaves_nothing(tmp_path, monkeypatch):
    figure = picture_page([row()], classes=CLASSES)
    monkeypatch.setattr('os.replace', lambda *_: (_ for _ in ()).throw(OSError('full')))
    with pytest.raises(OSError, match='full'):
        save_page(figure, tmp_path / 'page.png', dpi=20)
    assert list(tmp_path.iterdir()) == []


def test_errors():
    with pytest.raises(ValueError, match=r'prediction is \(3, 3\), its image \(20, 30\) \(cat\)'):
        row(prediction=np.zeros((3, 3), int))
    with pytest.raises(ValueError, match='at least one sample'):
        picture_page([], classes=CLASSES)
