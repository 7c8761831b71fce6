"""A full disk and a kill leave complete checkpoints only, and the training continues from the newest."""

import resource
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn

from mmseg_wsss.checkpoints import read_checkpoint
from mmseg_wsss.engine import latest_checkpoint

SIZE = 50_000  # bytes of a checkpoint, at least


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SIZE // 4))

    def forward(self, inputs, **kwargs):
        return dict(loss=self.weight.mean())


@pytest.fixture
def make(tmp_path):
    """A training of four iterations that saves each; keyword arguments are the hook's."""

    def make_runner(**hook):
        return Runner(
            Line(),
            str(tmp_path),
            train_dataloader=dict(
                batch_size=1,
                dataset=[torch.zeros(1)],
                sampler=dict(type='InfiniteSampler'),
                collate_fn=lambda batch: dict(inputs=batch),
            ),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=4),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='WholeCheckpointHook', by_epoch=False, interval=1, **hook)),
            default_scope='mmseg',
            log_level='ERROR',
            experiment_name=f'{tmp_path.name}-{torch.rand(1).item()}',
        )

    return make_runner


def names(folder):
    """Without the config that mmengine writes at the start."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py')


def test_the_last_ones_are_kept(make, tmp_path):
    make(max_keep_ckpts=2).train()
    assert names(tmp_path) == ['iter_3.pth', 'iter_4.pth', 'last_checkpoint']
    assert (tmp_path / 'last_checkpoint').read_text() == find_latest_checkpoint(tmp_path) == f'{tmp_path}/iter_4.pth'
    saved = read_checkpoint(tmp_path / 'iter_4.pth')
    assert (saved['meta']['iter'], saved['message_hub']['runtime_info']['keep_ckpt_ids']) == (4, [3, 4])
    assert saved['message_hub']['runtime_info']['last_ckpt'] == f'{tmp_path}/iter_4.pth'
    assert saved['state_dict']['weight'][0].item() == pytest.approx(-0.1 * 4 / (SIZE // 4))


def test_all_are_kept_where_no_number_is_given(make, tmp_path):
    make(save_optimizer=False, save_param_scheduler=False).train()
    assert names(tmp_path) == [*(f'iter_{n}.pth' for n in (1, 2, 3, 4)), 'last_checkpoint']
    assert 'optimizer' not in read_checkpoint(tmp_path / 'iter_1.pth')


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """The files that were there after each checkpoint was written, under its temporary name."""
    seen, save = [], Runner.save_checkpoint

    def save_and_look(*args, **options):
        save(*args, **options)
        seen.append([name for name in names(tmp_path) if not name.startswith('.')])

    monkeypatch.setattr(Runner, 'save_checkpoint', save_and_look)
    return seen


def test_the_oldest_is_removed_when_the_next_is_there(make, saved, tmp_path):
    make(max_keep_ckpts=1).train()
    assert saved == [[], *([f'iter_{n}.pth', 'last_checkpoint'] for n in (1, 2, 3))]
    assert names(tmp_path) == ['iter_4.pth', 'last_checkpoint']


class DiskIsFull(Hook):
    """From the second iteration on no file grows beyond half a checkpoint."""

    def before_train_iter(self, runner, **_):
        if runner.iter == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_disk_that_is_full_leaves_what_was_there(make, tmp_path):
    runner = make(max_keep_ckpts=1)
    runner.register_hook(DiskIsFull())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OSError, match='File too large'):
            runner.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ['iter_1.pth', 'last_checkpoint']
    assert latest_checkpoint(tmp_path) == f'{tmp_path}/iter_1.pth'
    assert read_checkpoint(tmp_path / 'iter_1.pth')['meta']['iter'] == 1


def test_the_name_is_written_after_the_checkpoint(make, tmp_path, monkeypatch):
    """What a kill in between leaves: the new checkpoint and the name of the old one, which is there."""
    hook = 'mmseg_wsss.engine.hooks.whole_checkpoint_hook'

    def killed(path, text):
        assert Path(text).is_file()
        assert path == tmp_path / 'last_checkpoint'
        raise KeyboardInterrupt

    monkeypatch.setattr(f'{hook}.write_text', killed)
    with pytest.raises(KeyboardInterrupt):
        make(max_keep_ckpts=1).train()
    assert names(tmp_path) == ['iter_1.pth']


def test_other_processes_write_nothing(make, tmp_path, monkeypatch):
    hook = 'mmseg_wsss.engine.hooks.whole_checkpoint_hook'
    called = []
    monkeypatch.setattr(f'{hook}.is_main_process', lambda: False)
    monkeypatch.setattr(Runner, 'save_checkpoint', lambda self, folder, name, **_: called.append((folder, name)))
    make(max_keep_ckpts=1).train()
    assert called == [(str(tmp_path), f'iter_{n}.pth') for n in (1, 2, 3, 4)], 'all take part where weights are sharded'
    assert names(tmp_path) == []


@pytest.fixture
def work(tmp_path):
    """Two complete checkpoints, a cut one and others."""
    for name in ('iter_90.pth', 'iter_100.pth', 'weights.pth', 'best_iter_300.pth'):
        torch.save({}, tmp_path / name)
    (tmp_path / 'iter_200.pth').write_bytes((tmp_path / 'iter_90.pth').read_bytes()[:-1])
    return tmp_path


def test_the_checkpoint_that_is_named(work, capsys):
    (work / 'last_checkpoint').write_text(f'{work}/iter_90.pth\n')
    assert latest_checkpoint(str(work)) == f'{work}/iter_90.pth'
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('text', 'wrong'),
    [(None, 'is missing'), ('', 'is empty'), ('/gone/iter_5.pth', 'names /gone/iter_5.pth, which is missing')],
)
def test_the_newest_complete_one_where_none_is_named(work, capsys, text, wrong):
    if text is not None:
        (work / 'last_checkpoint').write_text(text)
    assert latest_checkpoint(work) == f'{work}/iter_100.pth'
    assert capsys.readouterr().err == (
        f'NOTE: {work}/last_checkpoint {wrong}: the training continues from the newest complete checkpoint, '
        f'{work}/iter_100.pth\n'
    )
    torch.save({}, work / 'epoch_101.pth')
    assert latest_checkpoint(work) == f'{work}/epoch_101.pth'


def test_nothing_complete_is_an_error_and_nothing_at_all_a_start(tmp_path, capsys):
    assert latest_checkpoint(tmp_path / 'new') is None
    torch.save({}, tmp_path / 'weights.pth')
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / 'last_checkpoint').write_text('')
    remedy = 'give --resume CHECKPOINT, or choose another --work-dir to start anew'
    with pytest.raises(
        ValueError, match=rf'last_checkpoint is empty, and there is no complete checkpoint in .*: {remedy}'
    ):
        latest_checkpoint(tmp_path)
    (tmp_path / 'last_checkpoint').unlink()
    (tmp_path / 'iter_3.pth').write_bytes(b'PK')
    with pytest.raises(ValueError, match='last_checkpoint is missing, and there is no complete'):
        latest_checkpoint(tmp_path)
    assert capsys.readouterr().err == ''
