"""Heads compared on one checkpoint give what each gives alone."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from colour_net import make_data
from mmengine.config import Config
from tiny_weaktr import BLOCKS, HEADS, build_weaktr, weaktr_config

from mmseg_wsss.pseudo_labels import ImageList, Scorer, build_dataset, sweep_threshold

ROOT = Path(__file__).parents[2]
WEIGHTS = {
    'learned': {},
    'equal': dict(head_weights=dict(type='EqualWeights', num_blocks=BLOCKS, num_heads=HEADS)),
    'cross': dict(patch_attention=False),
}


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('compare_cams', ROOT / 'tools/analysis_tools/compare_cams.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def configs(tmp_path):
    """Three configs of one tiny network, its checkpoint, six images."""
    data = make_data(tmp_path / 'data', side=32)
    base = Config.fromfile(data / 'ColourCAM.py')
    paths = []
    for name, head in WEIGHTS.items():
        config = base.copy()
        config.model = weaktr_config(head)
        config.dump(tmp_path / f'{name}.py')
        paths.append(str(tmp_path / f'{name}.py'))
    model = build_weaktr()
    torch.nn.init.normal_(model.cam_head.head_weights.head_ffn[2].weight, std=3)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'net.pth')
    return paths, model


def test_each_head_is_what_its_own_sweep_says(tool, configs, tmp_path):
    paths, model = configs
    tool.main([str(tmp_path / 'net.pth'), *paths, '--out', str(tmp_path / 'out.json')])
    record = json.loads((tmp_path / 'out.json').read_text())
    assert record['images'] == 3
    dataset = build_dataset(Config.fromfile(paths[0]).test_dataloader.dataset, masks=True)
    for name, head in WEIGHTS.items():
        alone = build_weaktr(head).eval()
        alone.load_state_dict(model.state_dict())
        sweep = sweep_threshold(ImageList(dataset, tmp_path), Scorer(alone, source='cam', gate=True))
        row = record['heads'][name]
        assert row['threshold'] == sweep['threshold']
        assert row['mIoU'] == pytest.approx(sweep['mIoU'], abs=1e-3)
        table = [row['table'][str(float(key))] for key in sweep['table']]
        np.testing.assert_allclose(table, list(sweep['table'].values()), atol=1e-3)
    assert len({round(row['mIoU'], 3) for row in record['heads'].values()}) == 3, 'the heads differ'


def test_more_than_another_head_is_refused(tool, configs, tmp_path):
    paths, _ = configs
    config = Config.fromfile(paths[1])
    config.model.cam_scales = (1.0,)
    config.dump(paths[1])
    with pytest.raises(ValueError, match=r'equal\.py has another cam_scales than .*learned\.py'):
        tool.main([str(tmp_path / 'net.pth'), *paths[:2]])
