"""The script that asks whether a changed config is noticed: what it changes, and that it tells noticed from not."""

import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import mutate_configs
from mutate_configs import page

BY_CONFIG = {Path(section.config).stem: section for section in page.SECTIONS}
WHOLE = BY_CONFIG['weaktr-cam_deit-s16_1xb64-60e_voc12aug-224x224']
AS_ANOTHER = BY_CONFIG['weaktr-cam-hidden18_deit-s16_1xb64-60e_voc12aug-224x224']


def test_what_a_value_becomes():
    assert [*mutate_configs.others(True)] == [False]
    assert [*mutate_configs.others(0.5)] == [1.5]
    assert [*mutate_configs.others('SGD')] == ['another SGD']
    assert [*mutate_configs.others(None)] == ['another None']
    assert [*mutate_configs.others((1, (2,)))] == [[2, (2,)], [1, [3]], [1, [2, 1]], [1, (2,), 1]]
    assert [*mutate_configs.others({})] == [{'another': 1}]


@pytest.mark.parametrize('section', [WHOLE, AS_ANOTHER])
def test_no_change_is_not_noticed(section):
    assert not mutate_configs.noticed(section, nullcontext())


@pytest.mark.parametrize('section', [WHOLE, AS_ANOTHER])
def test_a_changed_and_a_left_out_value_are_noticed(section):
    lr = 'optim_wrapper.optimizer.lr'
    assert mutate_configs.noticed(section, mutate_configs.config_with(section.config, lr, 7.6e-5))
    assert mutate_configs.noticed(section, mutate_configs.config_with(section.config, lr))
    assert mutate_configs.noticed(section, mutate_configs.config_with(section.config, 'optim_wrapper.clip_grad', 1))
    workers = 'train_dataloader.num_workers'  # has no row
    assert not mutate_configs.noticed(section, mutate_configs.config_with(section.config, workers, 3))
    assert page.resolved(section.config)['optim_wrapper']['optimizer']['lr'] == 7.5e-5, 'the original stays'


def test_every_kind_of_change_is_asked_for():
    asked = [name.removeprefix(f'{WHOLE.config}: ') for name, _ in mutate_configs.config_changes(WHOLE)]
    assert {'optim_wrapper.optimizer.betas = [0.9, 1.999]', 'without optim_wrapper.optimizer.betas'} <= {*asked}
    assert not [name for name in asked if 'num_workers' in name]
    code = {name.rpartition(': ')[2]: change for name, change in mutate_configs.default_changes(WHOLE)}
    assert all(mutate_configs.noticed(WHOLE, change) for change in code.values())
    # keyword-only in our code, positional in mmpretrain's
    assert {'LabelCRF(gt_prob) = 1.7', 'mmpretrain.VisionTransformer(drop_rate) = 1.0'} <= code.keys()
    crfs = [*mutate_configs.crf_changes(WHOLE)]
    assert len(crfs) == 6
    assert all(mutate_configs.noticed(WHOLE, change) for _, change in crfs)


def test_survivors_are_printed_and_decide_the_exit_status(capsys):
    with (
        patch.object(page, 'SECTIONS', [AS_ANOTHER]),
        patch.object(mutate_configs, 'config_changes', lambda _: iter([('kept', nullcontext())])),
    ):
        assert mutate_configs.main() == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ['1 changes, 1 not noticed', 'kept']
