"""tools/test.py on a toy second stage: sliding windows, several scales and flips, CRF; the masks give the metric."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.datasets.mask_files import write_mask

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = [
    '{configs}/models/weaktr-seg_deit-s16.py',
    '{configs}/default_runtime.py',
    '{configs}/weaktr-seg_tta.py',
]
model = dict(
    data_preprocessor=dict(size=(32, 32), test_cfg=dict(size_divisor=8)),
    backbone=dict(
        _delete_=True, type='TokenViT', img_size=32, patch_size=8,
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    ),
    decode_head=dict(
        in_channels=16, channels=16, embed_dims=16, num_heads=2, num_classes=3, loss_decode=dict(patch_size=8)
    ),
    test_cfg=dict(crop_size=(32, 32), stride=(16, 16)),
)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='ResizeToFill', scale=(8 * side, side), window=32) for side in (20, 36, 52)
]
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='PseudoMaskDataset', data_root={root!r}, classes=('cat', 'dog'), test_mode=True,
        data_prefix=dict(img_path='images'), mask_dir={root!r} + '/masks',
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackWSSSInputs')],
    ),
)
test_evaluator = dict(type='CAMIoUMetric')
test_cfg = dict(type='TestLoop')
"""


@pytest.fixture
def toy(tmp_path):
    """A random network and two drawn images with masks; the second is no multiple of a patch."""
    for name, (height, width) in dict(a=(40, 56), b=(37, 43)).items():
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[5:20, 5:30] = 1
        mask[20:35, 20:40] = 2
        write_mask(tmp_path / 'masks' / f'{name}.png', mask)
        (tmp_path / 'images').mkdir(exist_ok=True)
        Image.fromarray(np.stack([mask * 100, 255 - mask * 60, mask * 30], axis=-1)).save(
            tmp_path / 'images' / f'{name}.png'
        )
    config = tmp_path / 'toy.py'
    config.write_text(CONFIG.format(configs=ROOT / 'configs' / '_base_', root=str(tmp_path)))
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'toy.pth')
    return tmp_path


def mean_iou(root: Path, folder: str) -> float:
    """mIoU of the written masks, over both images."""
    pairs = [[np.array(Image.open(root / where / f'{name}.png')) for where in (folder, 'masks')] for name in ('a', 'b')]
    scores = []
    for k in range(3):
        hit = sum(((p == k) & (t == k)).sum() for p, t in pairs)
        scores.append(hit / sum(((p == k) | (t == k)).sum() for p, t in pairs))
    return 100 * float(np.mean(scores))


@pytest.mark.parametrize('options', [(), ('--tta',), ('--tta', '--crf')], ids=['plain', 'tta', 'tta and crf'])
def test_the_masks_that_are_written_have_the_metric_that_is_reported(toy, options):
    if '--crf' in options:
        pytest.importorskip('pydensecrf', reason='the extra `crf` is not installed')
    arguments = [str(toy / 'toy.py'), str(toy / 'toy.pth'), '--work-dir', str(toy / 'work'), '--out', str(toy / 'out')]
    load_tool('test.py').main([*arguments, *options])
    name = 'test' + '_tta' * ('--tta' in options) + '_crf' * ('--crf' in options)
    metrics = json.loads((toy / 'work' / f'{name}.json').read_text())['metrics']
    assert metrics['seg/mIoU'] == pytest.approx(mean_iou(toy, 'out'), abs=0.01)
    assert metrics['seg/num_classes'] == 3


def test_a_checkpoint_of_another_class_count_is_refused(toy):
    arguments = [str(toy / 'toy.py'), str(toy / 'toy.pth'), '--work-dir', str(toy / 'work')]
    with pytest.raises(ValueError, match=r'toy\.pth does not fit the model of .*toy\.py(.|\n)*cls_emb'):
        load_tool('test.py').main([*arguments, '--cfg-options', 'model.decode_head.num_classes=5'])
