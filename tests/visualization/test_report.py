"""The report: layers pixel by pixel, what the page says, switches in a browser."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from mmseg.utils import get_palette
from PIL import Image

from mmseg_wsss.visualization import Picture, Report, colorize, curves, overlay

MASK = np.array([[0, 1, 255], [2, 2, 0]])
BROWSER = shutil.which('chromium')


def opened(address):
    kind, data = re.fullmatch(r'data:image/(\w+);base64,(.*)', address).groups()
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.format.lower() == kind
    return picture


def picture(name='a.jpg', **changes):
    photo = np.full((2, 3, 3), 200, np.uint8)
    cam = np.array([[[0, 0.2, 1], [0, 0, 0]], [[0, 0.1, 0], [0.5, 0, 0]]])
    values = dict(photo=photo, cam=cam, label=MASK, prediction=MASK, truth=MASK, tags=('cat',), iou=12.34)
    return Picture(name=name, **(values | changes))


def test_colours_are_those_of_the_palette_and_pascal_voc():
    assert colorize(MASK, [])[0].tolist() == [*get_palette('voc')[:2], [224, 224, 192]]
    assert colorize(MASK, [[1, 2, 3], [4, 5, 6]])[0].tolist() == [[1, 2, 3], [4, 5, 6], [224, 224, 192]]


def test_overlay_blends():
    image, colours = np.full((1, 2, 3), 100, np.uint8), np.full((1, 2, 3), 200, np.uint8)
    opacity = np.array([[[0.0], [0.25]]])
    assert overlay(image, colours, opacity).tolist() == [[[100] * 3, [125] * 3]]


def test_masks_are_exact_and_their_background_transparent():
    layers = picture().layers([[9, 9, 9], [4, 5, 6]], side=100)
    drawn = np.array(opened(layers['prediction']).convert('RGBA'))
    assert drawn[0].tolist() == [[9, 9, 9, 0], [4, 5, 6, 255], [224, 224, 192, 255]]
    assert drawn[1].tolist() == [[*get_palette('voc')[2], 255]] * 2 + [[9, 9, 9, 0]]
    assert layers['prediction'] == layers['truth'] == layers['label']


def test_heat_is_that_of_the_strongest_class_and_transparent_where_there_is_none():
    cam = np.zeros((2, 64, 64))
    cam[0, :32], cam[1, :32], cam[1, 32:, 32:] = 0.2, 1, 0.25
    heat = np.array(opened(picture(cam=cam).layers([], side=64)['cam']))
    assert heat[16, 16, 3] == pytest.approx(0.75 * 255, abs=2)
    assert heat[48, 48, 3] == pytest.approx(0.75 * 255 / 2, abs=2), 'square root'
    assert heat[48, 16, 3] == 0
    assert heat[16, 16, 0] > 100 > heat[16, 16, 2], 'red is strong'


def test_large_pictures_are_reduced_without_new_ids():
    mask = np.random.default_rng(0).integers(0, 3, (40, 80))
    large = picture(photo=np.zeros((40, 80, 3), np.uint8), cam=np.ones((1, 40, 80)), prediction=mask)
    layers = large.layers([], side=20)
    assert {opened(layers[name]).size for name in ('photo', 'cam', 'prediction')} == {(20, 10)}
    colours = {tuple(one) for one in np.array(opened(layers['prediction']).convert('RGB')).reshape(-1, 3).tolist()}
    assert colours == {tuple(one) for one in get_palette('voc')[:3]}


def test_layers_on_top_of_each_other():
    palette = [[0, 0, 0], [100, 0, 0], [0, 50, 0]]
    found = picture().composed(['prediction', 'photo'], palette, side=9)
    assert found[0, 0].tolist() == [200] * 3, 'background'
    np.testing.assert_allclose(found[0, 1], [0.3 * 200 + 0.7 * 100, 60, 60], atol=1)
    np.testing.assert_allclose(found[1, 0], [60, 0.3 * 200 + 0.7 * 50, 60], atol=1)
    assert picture(photo=None).composed(['photo', 'truth'], palette, side=9)[0, 0].tolist() == [255] * 3
    assert picture().composed([], palette, side=2).shape == (1, 2, 3)
    heated = picture().composed(['photo', 'cam'], palette, side=9)
    assert heated[0, 2, 0] > heated[0, 2, 2] + 50, 'red, where it is strong'
    assert heated[1, 1].tolist() == [200] * 3


def test_what_is_not_there_is_no_layer():
    bare = picture(photo=None, truth=None, iou=None, tags=())
    assert [*bare.layers([], side=9)] == ['cam', 'label', 'prediction']
    page = Report(title='t', pictures=[bare], classes=('background',)).html()
    assert 'show-prediction' in page
    assert 'show-photo' not in page
    assert '<figcaption>a.jpg</figcaption>' in page


def test_the_page_escapes_names_and_needs_nothing_else():
    tables = {'Tests': [['', 'mIoU'], ['<b>', '12.3']]}
    shown = [picture('<script>.jpg')]
    page = Report(title='a<i>', about=['x & y'], tables=tables, pictures=shown, classes=('"bg"', 'cat')).html()
    assert '<h1>a&lt;i&gt;</h1>' in page
    assert '<td>&lt;b&gt;</td><td>12.3</td>' in page
    assert '<b>12.3</b> &lt;script&gt;.jpg: cat' in page
    assert '<script' not in page
    assert {one[:10] for one in re.findall(r'(?:src|href)="([^"]*)', page)} == {'data:image'}


def test_curves_have_a_panel_per_loss_that_is_not_zero():
    lines = [
        {'iter': 20, 'loss': 2.0, 'loss_cls': 1.0, 'loss_late': 0.0, 'lr': 1},
        {'iter': 40, 'loss': 1.0, 'loss_cls': 0.5, 'loss_late': 0.0},
    ]
    drawing = curves(lines)
    assert drawing.startswith('<svg')
    assert re.findall(r'>(loss\w*|lr)<', drawing) == ['loss', 'loss_cls']
    assert curves(lines) == drawing, 'the same numbers give the same file'


@pytest.mark.skipif(BROWSER is None, reason='there is no chromium (apt-get install chromium)')
def test_switches_in_a_browser(tmp_path):
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    photo, mask = np.full((30, 40, 3), 200, np.uint8), np.ones((30, 40), int)
    shown = picture(photo=photo, cam=np.ones((1, 30, 40)), label=mask, prediction=mask, truth=0 * mask)
    page = tmp_path / 'report.html'
    page.write_text(Report(title='t', pictures=[shown], classes=('background', 'cat')).html(), encoding='utf-8')
    options = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
    layers = ('photo', 'cam', 'label', 'prediction', 'truth')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=options)
        tab = browser.new_page()
        tab.goto(page.as_uri())

        def visible():
            return [name for name in layers if tab.is_visible(f'.stack .{name}')]

        def colour():
            """Of the middle of the stack."""
            with Image.open(io.BytesIO(tab.locator('.stack').screenshot())) as drawn:
                return drawn.convert('RGB').getpixel((drawn.width // 2, drawn.height // 2))

        assert visible() == ['photo', 'prediction']
        assert colour() == pytest.approx((0.3 * 200 + 0.7 * 128, 0.3 * 200, 0.3 * 200), abs=2)
        tab.uncheck('#show-prediction')
        assert colour() == pytest.approx((200, 200, 200), abs=2)
        tab.check('#show-cam')
        tab.get_by_label('ground truth').check()
        assert visible() == ['photo', 'cam', 'truth']
        red, _, blue = colour()
        assert red > blue + 50, 'the heat of a strong CAM; the ground truth is transparent background'
        browser.close()
