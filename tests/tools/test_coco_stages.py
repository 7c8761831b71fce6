"""Both COCO configs of ToCo, trained over the borders of their three stages, with the stages shortened."""

import json
from pathlib import Path

import numpy as np
import pytest
from loss_recorder import read_losses
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

CONFIGS = sorted((Path(__file__).parents[2] / 'configs' / 'toco').glob('toco_*_coco14-448x448.py'))
STAGES = {'loss_seg': 8001, 'loss_reg': 8001, 'loss_ptc': 12001, 'loss_ctc': 12001, 'final_cam': 12001}
SHORT = {8001: 3, 12001: 6}  # three iterations on either side of each border


@pytest.fixture(scope='module')
def coco(tmp_path_factory) -> Path:
    """Four photographs of 640 x 480 with one or two objects each, as COCO lays them out."""
    root = tmp_path_factory.mktemp('coco')
    classes = Config.fromfile(CONFIGS[0]).classes
    rng = np.random.default_rng(0)
    (root / 'train2014').mkdir()
    (root / 'annotations').mkdir()
    images, annotations = [], []
    for number in range(4):
        image = rng.integers(60, 200, (480, 640, 3), dtype=np.uint8)
        for category in (number, 79 - number)[: 1 + number % 2]:
            image[100:300, 150:400] = rng.integers(0, 256, 3)
            annotations.append(dict(image_id=number, category_id=category + 1, iscrowd=0, id=len(annotations)))
        images.append(dict(id=number, file_name=f'{number}.jpg', height=480, width=640))
        Image.fromarray(image).save(root / 'train2014' / f'{number}.jpg')
    categories = [dict(id=index + 1, name=name) for index, name in enumerate(classes)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'annotations' / 'instances_train2014.json').write_text(json.dumps(content))
    (root / 'train2014.txt').write_text('0\n1\n2\n3\n')
    return root


def shortened(path: Path, coco: Path, folder: Path) -> Config:
    """The config with a tiny transformer, crops of 96 and short stages; all else is the config's own."""
    cfg = Config.fromfile(path)
    assert cfg.model.starts == STAGES
    model = cfg.model
    model.backbone.update(
        arch=dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48), out_indices=(1, 2)
    )
    model.backbone.init_cfg = None
    model.projector.update(hidden_channels=32, bottleneck_channels=16, out_channels=24)
    model.decode_head.channels = 16
    model.local_crop_size = 32
    model.starts = {name: SHORT[start] for name, start in model.starts.items()}
    train = cfg.train_dataloader
    train.update(batch_size=2, num_workers=0, persistent_workers=False)
    train.dataset.data_root = str(coco)
    train.dataset.pipeline[1].geometry[-1].crop_size = (96, 96)
    train.dataset.pipeline[1].free.global_view[0].scale = 96
    cfg.update(val_dataloader=None, val_evaluator=None, val_cfg=None)
    cfg.update(test_dataloader=None, test_evaluator=None, test_cfg=None)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=9, val_interval=100)
    cfg.custom_imports.imports.append('loss_recorder')
    cfg.custom_hooks.append(dict(type='RecordLosses', folder=str(folder / 'losses')))
    cfg.default_hooks.checkpoint.interval = 9
    cfg.work_dir = str(folder / 'work')
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_three_iterations_past_each_border(path, coco, tmp_path):
    Runner.from_cfg(shortened(path, coco, tmp_path)).train()
    losses = read_losses(tmp_path / 'losses')
    assert len(losses) == 9
    assert all(np.isfinite(list(step.values())).all() for step in losses)
    always = {'iter', 'loss', 'loss_cls', 'loss_cls_aux'}
    segmentation = {'decode.loss_seg', 'decode.acc_seg', 'loss_reg'}
    terms = [set(step) for step in losses]
    assert terms[:3] == [always | {'loss_not_begun'}] * 3
    assert terms[3:6] == [always | segmentation | {'loss_not_begun'}] * 3
    assert terms[6:] == [always | segmentation | {'loss_ptc', 'loss_ctc'}] * 3
    for step in losses:
        parts = sum(value for name, value in step.items() if 'loss' in name and name != 'loss')
        assert step['loss'] == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_values_that_differ_from_voc(path):
    """ToCo's COCO script: beta_h 0.65, evaluation at 0.45, temperature 1 (its option `--temp` is not used)."""
    cfg = Config.fromfile(path)
    assert cfg.model.cam_thresholds == (0.25, 0.65)
    assert cfg.model.loss_ctc.temperature == 1.0
    assert cfg.model.background_threshold == 0.45
