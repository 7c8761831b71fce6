"""The tool that compares refinements: its rows against the parts, one after the other."""

import json

import numpy as np
import pytest
import torch
from colour_net import make_data
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image
from tiny_clip import clip_config, openai_weights, write_texts
from tool_module import load_tool

from mmseg_wsss.evaluation.pixel_counts import THRESHOLDS

NAMES = ('b/3', 'a/4', 'b/5')
VIT = dict(
    type='TokenViT',
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
    img_size=32,
    patch_size=8,
)


@pytest.fixture
def data(tmp_path):
    """Drawn images with masks, a tiny CLIP on them, and an affinity with a backbone of its own."""
    root = make_data(tmp_path / 'data', side=32)
    torch.save(openai_weights(), root / 'clip.pth')
    cfg = Config.fromfile(root / 'ColourCAM.py')
    state = MODELS.build(VIT).state_dict()
    torch.save({key: 0.2 * torch.randn_like(value) for key, value in state.items()}, root / 'vit.pth')
    cfg.model = clip_config(write_texts(root / 'text.npz'), str(root / 'clip.pth'))
    cfg.affinity = dict(backbone=dict(VIT, init_cfg=dict(type='Pretrained', checkpoint=str(root / 'vit.pth'))))
    cfg.dump(root / 'clip.py')
    return root


def slow_means(data, refiners):
    """mIoU (%) at every threshold of the CAMs after these refiners, pixel by pixel in numpy."""
    cfg = Config.fromfile(data / 'clip.py')
    model = MODELS.build(cfg.model).eval()
    model.init_weights()
    parts = {
        'attention': dict(backbone=model.backbone, mean=[120.0] * 3, std=[60.0] * 3),
        'affinity': cfg.affinity,
    }
    hit, union = np.zeros((len(THRESHOLDS), 4)), np.zeros((len(THRESHOLDS), 4))
    tags = json.loads((data / 'tags.json').read_text())
    for name in NAMES:
        pixels = torch.from_numpy(np.array(Image.open(data / 'images' / f'{name}.png'))).permute(2, 0, 1)[None].float()
        label = torch.tensor([[float(tag in tags[f'{name}.png']) for tag in ('red', 'green', 'blue')]])
        cam = model.cams((pixels - 120) / 60, labels=label)['cam'] * label[..., None, None]
        for refiner in refiners:
            part = MODELS.build(dict(type='FeatureAffinity', **parts[refiner])).eval()
            if refiner == 'affinity':
                part.init_weights()
            cam = part(pixels / 255, cam)
        cam, true = cam[0].numpy(), np.array(Image.open(data / 'masks' / f'{name}.png'))
        for row, threshold in enumerate(THRESHOLDS):
            made = np.where(cam.max(0) > np.float32(threshold), cam.argmax(0) + 1, 0)
            for k in range(4):
                hit[row, k] += ((made == k) & (true == k)).sum()
                union[row, k] += ((made == k) | (true == k)).sum()
    with np.errstate(invalid='ignore'):
        return np.nanmean(100 * hit / union, axis=1)


def test_rows_are_their_parts_one_after_the_other(data, tmp_path, capsys):
    out = tmp_path / 'rows.json'
    load_tool('analysis_tools/refined_cams.py').main([str(data / 'clip.py'), '--out', str(out)])
    record = json.loads(out.read_text())
    assert record['images'] == 3
    rows = {'cam': (), 'attention': ('attention',), 'affinity': ('affinity',), 'both': ('attention', 'affinity')}
    assert list(record['rows']) == list(rows)
    printed = capsys.readouterr().out
    for name, refiners in rows.items():
        means = slow_means(data, refiners)
        found = record['rows'][name]
        np.testing.assert_allclose(found['table'], means, atol=0.5)
        assert found['mIoU'] == pytest.approx(means.max(), abs=0.5)
        assert f'{name:24} mIoU {found["mIoU"]:5.2f} at {found["threshold"]}' in printed
        assert found['CPU seconds per image'] > 0
    tables = [record['rows'][name]['table'] for name in rows]
    assert len({tuple(table) for table in tables}) == 4, 'every row is another map'


def test_rows_of_an_affinity_that_is_not_there(data, tmp_path):
    options = ['--out', str(tmp_path / 'rows.json'), '--cfg-options', 'affinity.backbone=None']
    with pytest.raises(SystemExit, match=r'clip\.py has no affinity\.backbone for the rows affinity and both'):
        load_tool('analysis_tools/refined_cams.py').main([str(data / 'clip.py'), *options])


def test_the_crf_refines_the_last_row(data, tmp_path):
    pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    out = tmp_path / 'rows.json'
    options = ['--rows', 'cam', 'affinity', '--crf', '0.2', '0.9', '--split', str(data / 'val.txt'), '--out', str(out)]
    load_tool('analysis_tools/refined_cams.py').main([str(data / 'clip.py'), *options])
    rows = json.loads(out.read_text())['rows']
    assert list(rows) == ['cam', 'affinity', 'affinity + CRF at 0.2', 'affinity + CRF at 0.9']
    low, high = rows['affinity + CRF at 0.2'], rows['affinity + CRF at 0.9']
    assert len(low['table']) == len(low['IoU']) - 3 == 1
    assert low['mIoU'] != high['mIoU']
    assert low['threshold'] is None
