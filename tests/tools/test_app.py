"""tools/app.py on a random toy ToCo: what it computes and saves; its page in a browser where Gradio is installed."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_module import TOOLS, load_tool

from mmseg_wsss.apis.tag_doubts import Doubt, doubts, write_tags
from mmseg_wsss.datasets.image_labels.problems import Problems
from mmseg_wsss.datasets.image_labels.tag_file import TagFile

BROWSER = shutil.which('chromium')
TRAIN = """
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        type='ImageTagDataset', data_root={root!r}, classes=('cat', 'dog'), data_prefix=dict(img_path='images'),
        image_labels=dict(type='TagFile', path='tags.json'), pipeline=[],
    ),
)
"""


@pytest.fixture(scope='module')
def work(toy, tmp_path_factory):
    work = tmp_path_factory.mktemp('app') / 'work'
    work.mkdir()
    (work / 'toy.py').write_text((toy / 'toy.py').read_text() + TRAIN.format(root=str(toy)))
    shutil.copy(toy / 'toy.pth', work / 'iter_40.pth')
    (work / 'last_checkpoint').write_text('iter_40.pth')
    return work


@pytest.fixture(scope='module')
def tool():
    return load_tool('app.py')


@pytest.fixture(scope='module')
def app(tool, work):
    return tool.App(tool.parse_args([str(work)]))


def test_a_photograph(app, toy):
    photo = np.array(Image.open(toy / 'images/1.png'))
    looked = app.look(photo)
    assert looked.cam.shape == (2, 48, 40)
    assert looked.prediction.shape == (48, 40)
    heat, label, prediction = app.show(looked, ['dog'], 0.4)
    assert heat.shape == label.shape == prediction.shape == (48, 40, 3)
    where = looked.cam[1] > 0.4
    assert 0 < where.mean() < 1
    colour = np.array(app.palette[2])
    np.testing.assert_allclose(label[where], 0.3 * photo[where] + 0.7 * colour, atol=1)
    np.testing.assert_array_equal(label[~where], photo[~where])
    everything = app.show(looked, [], 0.4)[1]
    assert (everything != label).any(), 'without tags all classes compete'
    assert app.show(looked, ['dog'], 1.0)[1].tolist() == photo.tolist()
    assert app.show(app.look(None), [], 0.5) == (None, None, None)


def test_pictures_of_a_class_are_the_worst_first(app, toy):
    shown = app.gallery('every class', ['image', 'ground truth'])
    names = [text.split()[-1] for _, text in shown]
    assert sorted(names) == ['0.png', '1.png', '2.png']
    ious = [float(text.split()[0]) for _, text in shown]
    assert ious == sorted(ious)
    of_dogs = [name for name in names if (np.array(Image.open(toy / 'masks' / name)) == 2).any()]
    assert [text.split()[-1] for _, text in app.gallery('dog', [])] == of_dogs
    drawn, name = next((drawn, text.split()[-1]) for drawn, text in shown)
    photo, mask = np.array(Image.open(toy / 'images' / name)), np.array(Image.open(toy / 'masks' / name))
    np.testing.assert_array_equal(drawn[mask == 0], photo[mask == 0])
    assert (drawn[mask == 1] != photo[mask == 1]).any()


def test_tags_are_doubted_corrected_and_saved(app, work, toy):
    progressed = []
    found = app.suspicious(lambda one, total: progressed.append(total) or one)
    assert progressed == [3]
    assert app.suspicious(None) == found, 'images are looked at once'
    given = json.loads((toy / 'tags.json').read_text())
    for one in found:
        assert one.tagged == (one.name in given[one.image])
        assert (1 - one.score if one.tagged else one.score) > 0.5
    rows = [
        ['1.png', 'cat', False, 0.1],
        ['2.png', 'cat', 'true', 0.9],
        ['2.png', 'dog', True, 0.2],
        ['', '', False, ''],
    ]
    assert app.save(rows) == f'{work}/corrected_tags.csv: 3 images, 2 tags changed'
    saved = {row[0]: row[1] for row in csv.reader((work / 'corrected_tags.csv').open())}
    assert saved == {'file': 'tags', '0.png': 'cat', '1.png': 'dog', '2.png': 'cat;dog'}
    np.testing.assert_array_equal(app.photo_of('0.png'), np.array(Image.open(toy / 'images/0.png')))
    for path in ('../masks/0.png', str(toy / 'masks/0.png'), 'nothing.png'):
        with pytest.raises(ValueError, match='is no image of the training set'):
            app.photo_of(path)


def test_doubts_by_hand():
    looked_at = [
        ('a.jpg', np.array([True, False]), np.array([0.2, 0.7])),
        ('b.jpg', np.array([False, False]), np.array([0.5, 0.9])),
    ]
    found = doubts(looked_at, ['cat', 'dog'])
    expected = [('b.jpg', 'dog', False, 0.9), ('a.jpg', 'cat', True, 0.2), ('a.jpg', 'dog', False, 0.7)]
    assert found == [Doubt(*one) for one in expected]
    assert [one.doubt for one in found] == pytest.approx([0.9, 0.8, 0.7])
    assert len(doubts(looked_at, ['cat', 'dog'], at_least=0.75)) == 2


def test_saved_tags_are_read_again(tmp_path):
    tags = {'sub/a, b.jpg': ['cat', 'big dog'], 'c.jpg': []}
    write_tags(tmp_path / 'tags.csv', tags)
    read = TagFile(path=tmp_path / 'tags.csv').read(('cat', 'big dog'), Problems())
    assert {entry[0]: entry[1] for entry in read} == tags


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere'], 'there is no folder nowhere'),
        (['.', '--num', '0'], '--num must be at least 1'),
        (['.', '--tags-out', 'tags.json'], '--tags-out must end in .csv'),
    ],
)
def test_command_lines_that_cannot_be(tool, capsys, arguments, message):
    with pytest.raises(SystemExit):
        tool.parse_args(arguments)
    assert message in capsys.readouterr().err


def test_a_training_without_a_checkpoint(tool, work, tmp_path):
    shutil.copy(work / 'toy.py', tmp_path)
    with pytest.raises(ValueError, match='has no last_checkpoint: the training has not come that far'):
        tool.App(tool.parse_args([str(tmp_path)]))


@pytest.fixture
def served(work):
    """The address of the app in a process of its own."""
    pytest.importorskip('gradio', reason='the extra `app` is not installed: make test-app')
    if BROWSER is None:
        pytest.skip('there is no chromium (apt-get install chromium)')
    command = [sys.executable, '-u', str(TOOLS / 'app.py'), str(work), '--port', '7868']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if address := re.search(r'http://127\.0\.0\.1:\d+', line):
                    yield address[0]
                    break
            else:
                pytest.fail(''.join(lines))
        finally:
            process.terminate()


def test_upload_slider_filter_and_save_in_a_browser(served, work, toy):
    from playwright.sync_api import sync_playwright

    options = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=options)
        tab = browser.new_page()
        requested = []
        tab.on('request', lambda request: requested.append(request.url))
        tab.goto(served)

        def picture(label):
            """The picture below this label, as the browser has it; None while there is none."""
            image = tab.locator('.block', has=tab.get_by_text(label, exact=True)).locator('img')
            return Image.open(io.BytesIO(tab.request.get(image.get_attribute('src')).body())) if image.count() else None

        def until(condition):
            deadline = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < deadline
                tab.wait_for_timeout(100)

        tab.set_input_files('input[type=file]', str(toy / 'images/1.png'))
        until(lambda: picture('pseudo-label'))
        photo = np.array(Image.open(toy / 'images/1.png')).astype(int)

        def painted():
            """How far the pseudo-label's picture is from the photograph."""
            return np.abs(np.array(picture('pseudo-label').convert('RGB')) - photo).mean()

        before = painted()
        tab.get_by_role('slider').first.press('End')
        until(lambda: painted() < before / 2)

        tab.get_by_role('tab', name='Run').click()
        until(lambda: tab.locator('.thumbnail-item').count() == 3 or tab.locator('.gallery-item').count() == 3)
        tab.get_by_role('tab', name='Tags').click()
        tab.get_by_role('button', name='Look for suspicious tags').click()
        until(lambda: tab.get_by_role('gridcell').count() > 3)
        tab.get_by_role('button', name='Save corrected_tags.csv').click()
        until(lambda: '3 images, 0 tags changed' in tab.get_by_label('saved').input_value())
        browser.close()
    assert (work / 'corrected_tags.csv').is_file()
    assert {url.split('/')[2] for url in requested if url.startswith('http')} == {Path(served).name}
