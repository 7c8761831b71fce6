"""What the README promises a person with photos and tags: five edited lines, two commands, masks."""

import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import Image

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / 'configs' / 'toco' / 'toco_deit-s16_own-photos.py'
SIZES = {'beach/001.png': (40, 30), 'beach/002.jpg': (30, 50), 'home.png': (33, 33), 'street.png': (64, 20)}
MASKS = ['beach/001.png', 'beach/002.png', 'home.png', 'street.png']


@pytest.fixture
def photos(tmp_path) -> Path:
    root = tmp_path / 'photos'
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        path = root / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    rows = ['file,tags', 'beach/001.png,bird;fish', 'beach/002.jpg,fish', 'home.png,', 'street.png,bird']
    (root / 'tags.csv').write_text('\n'.join(rows))
    return root


def edited(photos: Path) -> str:
    """The template with its five lines edited, as a person would."""
    text = TEMPLATE.read_text()
    lines = dict(data_root=str(photos), tags='tags.csv', classes=('bird', 'fish'), checkpoint='none.pth', max_iters=2)
    for name, value in lines.items():
        text, count = re.subn(rf'(?m)^{name} = .*$', f'{name} = {value!r}', text)
        assert count == 1, f'{name} is no longer a line of its own'
    return text.replace("'../_base_", f"'{ROOT}/configs/_base_")


def test_five_lines_train_and_write_a_mask_per_photo(photos, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(edited(photos))
    cfg = Config.fromfile(config)
    cfg.model.backbone.arch = dict(embed_dims=384, num_layers=12, num_heads=2, feedforward_channels=8)
    cfg.merge_from_dict(
        {
            'model.backbone.init_cfg': None,
            'model.local_crop_size': 32,
            'model.data_preprocessor.size': (64, 64),
            'model.starts': dict(loss_seg=1, loss_reg=1),
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.batch_size': 2,
            'test_dataloader.num_workers': 0,
            'test_evaluator.out_dir': str(tmp_path / 'masks'),
            'work_dir': str(tmp_path / 'work'),
            'param_scheduler': [],
        }
    )
    pipeline = cfg.train_dataloader.dataset.pipeline
    pipeline[1].geometry[-1].crop_size = (64, 64)
    pipeline[1].free.global_view[0].scale = 64
    runner = Runner.from_cfg(cfg)
    assert len(runner.build_dataloader(cfg.train_dataloader).dataset) == 3  # home.png has no tag: skipped
    runner.train()
    assert runner.model.iteration == 2
    check_log(next((tmp_path / 'work').glob('*/*.log')).read_text().splitlines())
    runner.test()
    written = sorted((tmp_path / 'masks').rglob('*.png'))
    assert [path.relative_to(tmp_path / 'masks').as_posix() for path in written] == MASKS
    for path, size in zip(written, SIZES.values(), strict=True):
        mask = Image.open(path)
        assert mask.size == size
        assert set(np.unique(mask)) <= {0, 1, 2}


def check_log(lines: list[str]) -> None:
    """Between mmengine's own lines and the training there are a few: the images, the weights, the optimizer."""
    first, last = (
        next(k for k, line in enumerate(lines) if text in line) for text in ('ImageTagDataset: 3', 'Checkpoints will')
    )
    told = [line.split(' - INFO - ')[1] for line in lines[first:last] if ' - INFO - ' in line]
    assert last - first <= len(told) + 2  # two warnings of mmengine
    assert told[:2] == ['ImageTagDataset: 3 images, 1 without tags skipped; bird 2, fish 2'] * 2  # built twice here
    told = told[1:]
    assert [line.split(': ')[0] for line in told[1:]] == ['optimizer'] * 3 + ['weights'] * (len(told) - 4)
    settings = ['lr 6e-05, weight decay 0.01', 'not trained', 'lr 0.0006, weight decay 0.01']
    assert [line.split(': ')[1] for line in told[1:4]] == settings
    assert told[3].endswith(', cam_head (768 values), aux_cam_head (768 values), projector (5,771,520 values)')
    assert len(told) < 14


def test_test_time_augmentation_sees_photos_in_the_size_of_the_test(photos, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(edited(photos))
    Image.fromarray(np.zeros((1200, 2000, 3), np.uint8)).save(photos / 'images' / 'home.png')
    cfg = Config.fromfile(config)
    init_default_scope('mmseg')

    def inputs(pipeline) -> dict:
        dataset = dict(cfg.test_dataloader.dataset, pipeline=pipeline)
        return next(s for s in DATASETS.build(dataset) if 'home.png' in str(paths(s)))

    def paths(sample) -> list[str]:
        samples = sample['data_samples']
        return [s.img_path for s in (samples if isinstance(samples, list) else [samples])]

    assert inputs(cfg.test_pipeline)['inputs'].shape == (3, 300, 500)
    shapes = [tuple(image.shape) for image in inputs(cfg.tta_pipeline)['inputs']]
    assert shapes == [(3, 300, 500)] * 2 + [(3, 375, 625)] * 2 + [(3, 450, 750)] * 2
