"""Images with a side shorter than a patch are tested, labelled and predicted like any other."""

import json

import numpy as np
import pytest
from PIL import Image
from tool_module import load_tool
from toy_segmentation import make_toy, run_test

THIN = {'thin': (300, 6), 'line': (1, 40)}  # patches are 8 x 8


@pytest.fixture(scope='module')
def thin(tmp_path_factory):
    """The toy's folder with two thin images more."""
    root = make_toy(tmp_path_factory.mktemp('thin'))
    tags = json.loads((root / 'tags.json').read_text())
    for name, (height, width) in THIN.items():
        image = np.full((height, width, 3), 40, np.uint8)
        image[height // 2 :, width // 2 :] = 200, 10, 10
        Image.fromarray(image).save(root / f'images/{name}.png')
        Image.fromarray(np.ones((height, width), np.uint8)).save(root / f'masks/{name}.png')
        tags[f'{name}.png'] = ['cat']
    (root / 'tags.json').write_text(json.dumps(tags))
    return root


def sizes(folder):
    return {name: np.array(Image.open(folder / f'{name}.png')).shape for name in THIN}


@pytest.mark.parametrize(('options', 'name'), [([], 'test'), (['--tta'], 'test_tta')])
def test_test_tool(thin, tmp_path, options, name):
    record, masks = run_test(thin, tmp_path, *options, name=name)
    assert {key: masks[key].shape for key in THIN} == THIN
    assert len(masks) == 5
    assert record['metrics']['seg/images'] == 5


def test_labelling(thin, tmp_path, capsys):
    out = tmp_path / 'out'
    assert load_tool('make_pseudo_labels.py').main([*map(str, (thin / 'toy.py', thin / 'toy.pth', '--out', out))]) == 0
    assert sizes(out / 'SegmentationClass') == THIN
    assert json.loads((out / 'report.json').read_text())['skipped'] == []


def test_prediction(thin, tmp_path, capsys):
    files = [thin / 'toy.py', thin / 'toy.pth', thin / 'images', '--out', tmp_path, '--device', 'cpu']
    assert load_tool('predict.py').main([*map(str, files)]) == 0
    assert sizes(tmp_path / 'masks') == THIN
