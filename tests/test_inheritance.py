"""Configs elsewhere inherit ours by name, ``_base_ = 'mmseg_wsss::...'``: every part is found under that name."""

from pathlib import Path

import mmengine.registry
import mmseg.registry
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.apis import init_model
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.visualization import SegLocalVisualizer

from mmseg_wsss.models import ToCo, TokenViT

ROOT = Path(__file__).parents[1]
DEMO = 'toco/toco_vit-demo_drawn-scenes.py'


@pytest.fixture
def inherited(tmp_path) -> Config:
    (tmp_path / 'mine.py').write_text(
        f"_base_ = 'mmseg_wsss::{DEMO}'\n"
        'model = dict(backbone=dict(init_cfg=None))\n'
        'train_pipeline = _base_.train_pipeline\n'  # mmengine notes the scope in each of its steps
        "train_pipeline[0] = dict(type='mmseg.LoadAnnotations')\n"
    )
    return Config.fromfile(tmp_path / 'mine.py')


def test_it_is_the_config_of_this_package(inherited):
    own = Config.fromfile(ROOT / 'configs' / DEMO)
    assert inherited.model._scope_ == 'mmseg_wsss'
    assert inherited.model.decode_head == own.model.decode_head
    assert inherited.train_cfg.max_iters == own.train_cfg.max_iters == 250


@pytest.mark.parametrize('registries', [mmengine.registry, mmseg.registry])
@pytest.mark.parametrize('scope', ['mmseg', 'mmseg_wsss'])
def test_every_part_is_found(inherited, registries, scope):
    with DefaultScope.overwrite_default_scope(scope):
        visualizer = registries.VISUALIZERS.build(dict(inherited.visualizer, name=f'{registries.__name__}.{scope}'))
        model = registries.MODELS.build(inherited.model)
        steps = [registries.TRANSFORMS.build(step) for step in inherited.train_pipeline]
        scheduler = registries.PARAM_SCHEDULERS.get(inherited.param_scheduler[1].type)
    assert type(visualizer) is SegLocalVisualizer
    assert (type(model), type(model.backbone)) == (ToCo, TokenViT)
    assert type(steps[0]) is LoadAnnotations
    assert [type(step).__name__ for step in steps[1:]] == ['MultiView', 'PackWSSSInputs']
    assert scheduler.__name__ == 'PolyLR'


def test_mmseg_builds_it_too(inherited):
    assert type(init_model(inherited, device='cpu')) is ToCo


def test_nothing_is_said_while_parts_are_built(inherited, caplog):
    mmengine.registry.MODELS.build(inherited.model)
    assert [record.message for record in caplog.records if record.levelname == 'WARNING'] == []
