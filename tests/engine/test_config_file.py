"""A variable of an inherited config has done its work: setting it anew is refused, with the keys to set instead."""

from pathlib import Path

import pytest

from mmseg_wsss.engine import read_config

CONFIGS = Path(__file__).parents[2] / 'configs'
EVERY = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
TOCO = 'mmseg_wsss::toco/toco_own-photos.py'
CAM, SEG = 'mmseg_wsss::weaktr/weaktr-cam_own-photos.py', 'mmseg_wsss::weaktr/weaktr-seg_own-photos.py'
COMPUTED = {
    (TOCO, 'classes'): 'model, test_dataloader and train_dataloader',
    (TOCO, 'data_root'): 'test_dataloader, test_evaluator and train_dataloader',
    (TOCO, 'tags'): 'test_dataloader and train_dataloader',
    (TOCO, 'max_iters'): 'default_hooks, model, param_scheduler and train_cfg',
    (TOCO, 'checkpoint'): 'values of model',
    (TOCO, 'crop'): 'model, test_dataloader, train_dataloader and tta_pipeline',
    (CAM, 'classes'): 'model, test_dataloader and train_dataloader',
    (CAM, 'tags'): 'test_dataloader and train_dataloader',
    (CAM, 'max_iters'): 'default_hooks, param_scheduler and train_cfg',
    (SEG, 'classes'): 'model, test_dataloader and train_dataloader',
    (SEG, 'data_root'): 'test_dataloader, test_evaluator and train_dataloader',
}


@pytest.mark.parametrize(('base', 'name'), COMPUTED)
def test_a_variable_set_too_late_is_refused(tmp_path, base, name):
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = '{base}'\n{name} = ('other',)\n")
    with pytest.raises(ValueError, match='does not use it') as error:
        read_config(path)
    assert str(error.value) == (
        f'{path} sets {name} and does not use it: {COMPUTED[base, name]} were computed from the {name} of the config '
        f'that it inherits, and stay as they are. Set them, or copy that config and set {name} there'
    )
    path.write_text(f"_base_ = '{base}'\n")
    with pytest.raises(ValueError, match=rf'^--cfg-options {name} comes too late: {COMPUTED[base, name]} were'):
        read_config(path, {name: 1})


def test_values_in_their_places_are_effective(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = '{TOCO}'\n"
        "classes = ('bird', 'fish', 'frog')\n"
        "photos = dict(data_root='zoo', classes=classes, image_labels=dict(path='zoo.json'))\n"
        'model = dict(num_classes=len(classes))\n'
        'train_dataloader = dict(dataset=photos)\n'
        'test_dataloader = dict(dataset=photos)\n'
        'train_cfg = dict(max_iters=50)\n'
    )
    cfg = read_config(path, {'train_cfg.max_iters': 60, 'model.test_cfg.cam': True, 'crf.preset': 'toco'})
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert (loader.dataset.data_root, loader.dataset.image_labels.path) == ('zoo', 'zoo.json')
        assert loader.dataset.classes == ('bird', 'fish', 'frog')
    assert (cfg.model.num_classes, cfg.train_cfg.max_iters) == (3, 60)
    assert (cfg.model.test_cfg.cam, cfg.crf.preset) == (True, 'toco')


@pytest.mark.parametrize('path', EVERY, ids=lambda path: path.stem)
def test_every_shipped_config_is_read(path):
    assert read_config(path).model.type
