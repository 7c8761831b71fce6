"""What the command line of tools/train.py makes of a config."""

import pytest
import torch
from tool_module import load_tool

train_tool = load_tool('train.py')


@pytest.fixture
def build(tmp_path):
    """``build(text_of_config, *arguments)`` gives the final config."""

    def _build(text: str, *arguments: str):
        path = tmp_path / 'toy.py'
        path.write_text(text)
        return train_tool.build_cfg(train_tool.parse_args([str(path), *arguments]))

    return _build


def test_defaults(build):
    cfg = build('model = dict(type="X")')
    assert cfg.work_dir == 'work_dirs/toy'
    assert cfg.randomness.seed == 0
    assert cfg.launcher == 'none'
    assert not cfg.get('resume')


def test_the_command_line_wins_over_the_config(build):
    text = 'randomness = dict(seed=5, deterministic=True)\nwork_dir = "here"\na = dict(b=1)'
    assert build(text).randomness.seed == 5
    cfg = build(text, '--seed', '9', '--work-dir', 'there', '--cfg-options', 'a.b=2', 'a.c=[3,4]')
    assert cfg.randomness == {'seed': 9, 'deterministic': True}
    assert cfg.work_dir == 'there'
    assert cfg.a == {'b': 2, 'c': [3, 4]}


def test_seed_zero_is_a_seed(build):
    assert build('randomness = dict(seed=5)', '--seed', '0').randomness.seed == 0


def test_resume_from_the_latest_or_from_a_file(build):
    latest = build('load_from = "weights.pth"', '--resume')
    assert (latest.resume, latest.load_from) == (True, None)
    named = build('load_from = "weights.pth"', '--resume', 'iter_3.pth')
    assert (named.resume, named.load_from) == (True, 'checked:iter_3.pth')


def test_resume_finds_a_checkpoint_that_nothing_names(build, tmp_path, capsys):
    torch.save({}, tmp_path / 'iter_3.pth')
    cfg = build('model = dict(type="X")', '--resume', '--work-dir', str(tmp_path))
    assert (cfg.resume, cfg.load_from) == (True, f'checked:{tmp_path}/iter_3.pth')
    assert 'last_checkpoint is missing' in capsys.readouterr().err
    (tmp_path / 'iter_3.pth').write_bytes(b'half')
    with pytest.raises(ValueError, match='no complete checkpoint'):
        build('model = dict(type="X")', '--resume', '--work-dir', str(tmp_path))


def test_amp_replaces_the_plain_wrapper_only(build):
    assert build('optim_wrapper = dict(type="OptimWrapper", a=1)', '--amp').optim_wrapper == {
        'type': 'BF16OptimWrapper',
        'a': 1,
    }
    assert build('optim_wrapper = dict(a=1)', '--amp').optim_wrapper.type == 'BF16OptimWrapper'
    with pytest.raises(ValueError, match=r"--amp replaces .* 'OptimWrapper', but .*toy.py has 'AmpOptimWrapper'"):
        build('optim_wrapper = dict(type="AmpOptimWrapper")', '--amp')


def test_accumulation_over_iterations_is_refused_where_it_would_be_another_training(build):
    optim_wrapper = 'optim_wrapper = dict(accumulative_counts=4)\n'
    with pytest.raises(
        ValueError,
        match=r'accumulative_counts would count iterations, move EMA .* set model\.backbone\.pixels_per_pass',
    ):
        build(f'{optim_wrapper}model = dict(type="ToCo")')
    assert build(f'{optim_wrapper}model = dict(type="WeakTr")').optim_wrapper.accumulative_counts == 4
    assert build('optim_wrapper = dict(accumulative_counts=1)\nmodel = dict(type="ToCo")').model.type == 'ToCo'


def test_training_leaves_no_process_group_behind(tmp_path, monkeypatch):
    class Trained:
        def train(self):
            assert torch.distributed.is_initialized()

    monkeypatch.setattr('mmengine.runner.Runner.from_cfg', lambda cfg: Trained())
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    (tmp_path / 'toy.py').write_text('model = dict(type="X")')
    monkeypatch.setattr('sys.argv', ['train.py', str(tmp_path / 'toy.py')])
    try:
        train_tool.main()
        assert not torch.distributed.is_initialized()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
