"""A random toy ToCo, three drawn images with masks and tags, and tools/test.py run on them."""

import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from PIL import Image
from tool_module import load_tool

ROOT = Path(__file__).parents[1]
CONFIG = """
default_scope = 'mmseg'
custom_imports = dict(imports=['mmseg_wsss'])
_base_ = {base!r}
head = dict(type='ClsCAMHead', num_classes=2, in_channels=16)
model = dict(
    type='ToCo',
    data_preprocessor=dict(
        type='WSSSDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_val=0, seg_pad_val=255
    ),
    backbone=dict(
        type='TokenViT', img_size=32, patch_size=8, out_indices=(0, 1),
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    ),
    cam_head=dict(in_index=1, **head),
    aux_cam_head=dict(in_index=0, **head),
    refiner=dict(type='PAR', num_iter=2, dilations=(1, 2)),
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1, concat_input=False, dropout_ratio=0.0,
        norm_cfg=None, num_classes=3, align_corners=False,
    ),
    test_cfg=dict(mode='whole', cam=True),
)
test_dataloader = val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageTagDataset', data_root={root!r}, classes=('cat', 'dog'), test_mode=True,
        data_prefix=dict(img_path='images', seg_map_path='masks'), image_labels=dict(type='TagFile', path='tags.json'),
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackWSSSInputs')],
    ),
)
test_evaluator = val_evaluator = dict(type='CAMIoUMetric')
test_cfg = dict()
val_cfg = dict()
"""


def build_model(root):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(Config.fromfile(root / 'toy.py').model)


def make_toy(root):
    """Write images of two sizes, two configs (with and without multi-scale) and random weights to a folder."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder).mkdir()
    for number, (height, width) in enumerate([(40, 48), (48, 40), (40, 48)]):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(root / f'images/{number}.png')
        mask = np.full((height, width), 255, np.uint8)
        mask[4:] = rng.integers(0, 3, (height - 4, width))
        Image.fromarray(mask).save(root / f'masks/{number}.png')
    (root / 'tags.json').write_text(json.dumps({'0.png': ['cat'], '1.png': ['cat', 'dog'], '2.png': ['dog']}))
    tta = str(ROOT / 'configs' / '_base_' / 'tta.py')
    (root / 'toy.py').write_text(CONFIG.format(base=[tta], root=str(root)))
    (root / 'no_tta.py').write_text(CONFIG.format(base=[], root=str(root)))
    torch.manual_seed(0)
    model = build_model(root)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)  # zero biases and tiny weights would predict one class everywhere
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, root / 'toy.pth')
    return root


def run_test(toy, out, *options, name='test', config=None):
    """Run the tool with ``out`` as its work dir; gives the record it wrote and the masks by name."""
    masks = out / 'masks'
    files = [config or toy / 'toy.py', toy / 'toy.pth', '--work-dir', out, '--out', masks]
    load_tool('test.py').main([*map(str, files), *options])
    written = {path.stem: np.array(Image.open(path)) for path in sorted(masks.glob('*.png'))}
    return json.loads((out / f'{name}.json').read_text()), written
