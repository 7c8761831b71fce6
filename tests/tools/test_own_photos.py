"""A person with photos and tags copies a config to any folder, edits the lines at its top, and gets masks."""

import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import Image
from tool_module import load_tool

from mmseg_wsss.engine import read_config

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
ARCH = dict(embed_dims=24, num_layers=12, num_heads=2, feedforward_channels=8)
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


def edited(name: str, photos: Path, **values) -> Path:
    """The config copied into another folder and its first lines edited, as a person would."""
    text = (CONFIGS / name).read_text()
    lines = dict(
        data_root=str(photos), tags='tags.csv', classes=('bird', 'fish'), arch='deit-small', crop=64, max_iters=6
    )
    for key, value in (lines | values).items():
        text, count = re.subn(rf'(?m)^{key} = .*$', f'{key} = {value!r}', text)
        assert count == 1 or key == 'tags', f'{key} is no longer a line of its own'
    copied = photos.parent / 'elsewhere' / Path(name).name
    copied.parent.mkdir(exist_ok=True)
    copied.write_text(text)
    return copied


def train(config: Path, work_dir: Path) -> Runner:
    """What tools/train.py runs, without pretrained weights and further processes."""
    cfg = read_config(config)
    assert cfg.model.backbone.arch == 'deit-small'
    cfg.model.backbone.update(arch=ARCH, init_cfg=None)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    cfg.test_dataloader.num_workers = 0
    cfg.test_evaluator.out_dir = str(work_dir / 'masks')
    cfg.work_dir = cfg.experiment_name = str(work_dir)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def assert_a_mask_per_photo(folder: Path) -> None:
    written = sorted(folder.rglob('*.png'))
    assert [path.relative_to(folder).as_posix() for path in written] == MASKS
    for path, size in zip(written, SIZES.values(), strict=True):
        mask = Image.open(path)
        assert mask.size == size
        assert set(np.unique(mask)) <= {0, 1, 2}


@pytest.mark.slow
def test_toco_trains_from_the_edited_copy_and_writes_a_mask_per_photo(photos, tmp_path):
    runner = train(edited('toco/toco_own-photos.py', photos), tmp_path / 'work')
    assert len(runner.train_dataloader.dataset) == 3  # home.png has no tag: skipped
    model = runner.model
    assert (model.iteration, model.num_classes, model.local_crop_size) == (6, 3, 16)
    assert model.starts['loss_seg'] == model.starts['loss_reg'] == 1
    check_log(next((tmp_path / 'work').glob('*/*.log')).read_text().splitlines())
    runner.test()
    assert_a_mask_per_photo(tmp_path / 'work' / 'masks')


@pytest.mark.slow
def test_weaktr_trains_both_stages_from_the_edited_copies(photos, tmp_path):
    cam = edited('weaktr/weaktr-cam_own-photos.py', photos)
    runner = train(cam, tmp_path / 'cam')
    assert len(runner.train_dataloader.dataset) == 4  # home.png shows none of the classes
    assert (runner.iter, runner.model.backbone.num_extra_tokens, runner.model.num_classes) == (6, 2, 3)
    dumped = tmp_path / 'cam' / cam.name
    arguments = [
        str(dumped),
        str(tmp_path / 'cam' / 'iter_6.pth'),
        '--out',
        str(tmp_path / 'labels'),
        '--images',
        'train',
    ]
    assert load_tool('make_pseudo_labels.py').main(arguments) == 0
    assert_a_mask_per_photo(tmp_path / 'labels' / 'SegmentationClass')

    seg = edited('weaktr/weaktr-seg_own-photos.py', photos)
    folder = 'work_dirs/own_photos/labels/SegmentationClass'
    seg.write_text(seg.read_text().replace(folder, str(tmp_path / 'labels' / 'SegmentationClass')))
    runner = train(seg, tmp_path / 'seg')
    assert (runner.iter, runner.model.num_classes, runner.model.decode_head.channels) == (6, 3, 24)
    runner.test()
    assert_a_mask_per_photo(tmp_path / 'seg' / 'masks')


def check_log(lines: list[str]) -> None:
    """Between mmengine's own lines and the training there are a few: the images, the weights, the optimizer."""
    first, last = (
        next(k for k, line in enumerate(lines) if text in line) for text in ('ImageTagDataset: 3', 'Checkpoints will')
    )
    told = [line.split(' - INFO - ')[1] for line in lines[first:last] if ' - INFO - ' in line]
    assert last - first <= len(told) + 2  # two warnings of mmengine
    assert told[0] == 'ImageTagDataset: 3 images, 1 without tags skipped; bird 2, fish 2'
    assert [line.split(': ')[0] for line in told[1:]] == ['optimizer'] * 3 + ['weights'] * (len(told) - 4)
    settings = ['lr 0.0001, weight decay 0.01', 'not trained', 'lr 0.001, weight decay 0.01']
    assert [line.split(': ')[1] for line in told[1:4]] == settings
    assert told[3].endswith(', cam_head (48 values), aux_cam_head (48 values), projector (5,034,240 values)')
    assert len(told) < 14


def test_test_time_augmentation_sees_photos_in_the_size_of_the_test(photos, tmp_path):
    config = edited('toco/toco_own-photos.py', photos, crop=256)
    Image.fromarray(np.zeros((1200, 2000, 3), np.uint8)).save(photos / 'images' / 'home.png')
    cfg = Config.fromfile(config)
    init_default_scope('mmseg')

    def inputs(pipeline) -> dict:
        dataset = dict(cfg.test_dataloader.dataset, pipeline=pipeline)
        return next(s for s in DATASETS.build(dataset) if 'home.png' in str(paths(s)))

    def paths(sample) -> list[str]:
        samples = sample['data_samples']
        return [s.img_path for s in (samples if isinstance(samples, list) else [samples])]

    assert inputs(cfg.test_pipeline)['inputs'].shape == (3, 230, 384)
    shapes = [tuple(image.shape) for image in inputs(cfg.tta_pipeline)['inputs']]
    assert shapes == [(3, 230, 384)] * 2 + [(3, 288, 480)] * 2 + [(3, 346, 576)] * 2


@pytest.mark.parametrize('name', ['toco/toco', 'weaktr/weaktr-cam', 'weaktr/weaktr-seg'])
def test_a_crop_of_broken_patches_is_refused(name, photos):
    with pytest.raises(ValueError, match='crop is 250; it must be a multiple of'):
        Config.fromfile(edited(f'{name}_own-photos.py', photos, crop=250))
