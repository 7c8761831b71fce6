"""However a batch of four images is divided over processes and passes, it is the same step: losses and weights."""

from itertools import product
from pathlib import Path

import pytest
import torch
from launch import train_in_processes
from loss_recorder import read_losses
from mmengine.config import Config
from mmengine.runner import Runner
from toy_runs import seco_config, stage1_config, stage2_config, toco_config, without_draws

pytestmark = pytest.mark.slow

BATCH, ONE_IMAGE = 4, 64 * 64
METHODS = ('toco', 'seco', 'stage1', 'stage2', 'batch_threshold')
# name of the division: processes, pixels of a pass through the encoder
WHOLE = (1, None)
DIVISIONS = {
    '4 passes of 1': (1, ONE_IMAGE),
    '2 processes x 2': (2, None),
    '2 processes x 2 passes of 1': (2, ONE_IMAGE),
    '4 processes x 1': (4, None),
}
ONE_DIVISION = {'seco': '2 processes x 2', 'batch_threshold': '4 processes x 1'}  # where one says enough
CASES = [case for case in product(METHODS, DIVISIONS) if ONE_DIVISION.get(case[0], case[1]) == case[1]]


def _config(folder: Path, method: str, processes: int, pixels: int | None) -> Config:
    """A training whose losses and weights go to ``folder/METHOD-PROCESSES-PIXELS``."""
    build = {'toco': toco_config, 'seco': seco_config, 'stage1': stage1_config}.get(method, stage2_config)
    cfg = without_draws(build(folder))
    if method == 'batch_threshold':
        cfg.model.decode_head.loss_decode.batch_threshold = True
    cfg.model.backbone.pixels_per_pass = pixels
    cfg.train_dataloader.batch_size = BATCH // processes
    name = f'{method}-{processes}-{pixels}'
    cfg.custom_hooks[1].folder = str(folder / name / 'losses')
    cfg.work_dir = str(folder / name)
    cfg.experiment_name = f'{folder.name}-{name}'
    return cfg


def _results(folder: Path, method: str, processes: int, pixels: int | None) -> tuple[list[list[dict]], dict]:
    """Losses of every process, and the weights after the last iteration."""
    run = folder / f'{method}-{processes}-{pixels}'
    losses = [read_losses(run / 'losses', rank) for rank in range(processes)]
    return losses, torch.load(run / 'iter_5.pth', weights_only=False)['state_dict']


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """All methods trained in all divisions; processes are started once for each number of them."""
    folder = tmp_path_factory.mktemp('runs')
    trainings = [(method, *WHOLE) for method in METHODS]
    trainings += [(method, *DIVISIONS[division]) for method, division in CASES]
    for method, processes, pixels in trainings:
        if processes == 1:
            Runner.from_cfg(_config(folder, method, 1, pixels)).train()
    for count in (2, 4):
        paths = []
        for method, processes, pixels in trainings:
            if processes == count:
                paths.append(folder / f'{method}_{processes}_{pixels}.py')
                _config(folder, method, processes, pixels).dump(paths[-1])
        train_in_processes(count, paths)
    return folder


@pytest.mark.parametrize(('method', 'division'), CASES)
def test_losses_and_weights_are_those_of_the_whole_batch(runs, method, division):
    processes, pixels = DIVISIONS[division]
    [expected], weights = _results(runs, method, *WHOLE)
    ranks, own = _results(runs, method, processes, pixels)
    assert [len(lines) for lines in ranks] == [5] * processes
    for iteration, losses in enumerate(expected):
        for name in filter(lambda name: 'loss' in name, losses):
            mean = sum(lines[iteration][name] for lines in ranks) / processes
            assert mean == pytest.approx(losses[name], abs=1e-5), f'{name} at iteration {iteration}'
    assert own.keys() == weights.keys()
    for name, weight in weights.items():
        if name.startswith('memory.queue'):  # the patches of an image are drawn in another order
            own[name], weight = (rows.sort(dim=0).values for rows in (own[name], weight))
        torch.testing.assert_close(own[name], weight, rtol=0, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}')
    assert len({lines[-1]['loss'] for lines in ranks}) == processes, 'the processes read different images'


@pytest.mark.parametrize('method', METHODS)
def test_what_is_compared_is_a_training(runs, method):
    [losses], weights = _results(runs, method, *WHOLE)
    before = torch.load(runs / f'{method}-1-None' / 'iter_3.pth', weights_only=False)['state_dict']
    moved = {name: (weights[name] - before[name]).abs().max().item() for name in weights}
    blocks = [value for name, value in moved.items() if name.startswith('backbone.layers.') and 'weight' in name]
    assert min(blocks) > 0
    assert max(blocks) > 1e-3
    assert abs(losses[-1]['loss'] - losses[2]['loss']) > 1e-3
    if method == 'toco':
        terms = {'loss_cls', 'loss_cls_aux', 'loss_ptc', 'loss_ctc', 'decode.loss_seg', 'loss_reg', 'loss'}
        assert terms <= set(losses[-1])
        assert losses[-1]['loss_ctc'] > 0.1, 'some crops are negative'
        assert losses[-1]['loss_reg'] < -1e-4
        assert moved['_extra_state'] == 2, 'iterations are counted once per batch'
        assert moved['projector.teacher.module.mlp.0.weight'] > 1e-6
    elif method == 'seco':
        assert {'loss_ptc', 'loss_lil', 'loss_lig', 'decode.loss_seg', 'loss_reg'} <= set(losses[-1])
        assert losses[-1]['loss_lil'] > 0.01
        assert losses[3]['loss_lig'] > 0.01, 'several classes among the tags'
        assert weights['memory.queue_ptr'].tolist() == [5 * 24 % 60]
        assert min(moved[f'memory.{name}'] for name in ('queue', 'queue_tag', 'prototypes')) > 0.1
        assert moved['teacher.module.cls_token'] > 1e-6
    elif method != 'stage1':
        assert losses[-1]['clip.share'] > 0.1
