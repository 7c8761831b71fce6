"""The shell scripts that start several processes: the command lines that they build, and real starts."""

import os
import socket
import subprocess

import pytest
from launch import run_together
from loss_recorder import read_losses
from mmengine.config import Config
from mmengine.runner import Runner
from tool_module import TOOLS
from toy_runs import stage1_config, without_draws

SCRIPTS = sorted(path.name for path in TOOLS.glob('*.sh'))
ONE_MACHINE = ['--standalone']
TWO_MACHINES = ['--nnodes', '2', '--node_rank', '1', '--master_addr', 'head', '--master_port', '29501']


@pytest.fixture
def printed(tmp_path):
    """Run a script with ``python`` and ``srun`` that print their arguments."""
    for name in ('python', 'srun'):
        program = tmp_path / name
        program.write_text(f'#!/bin/bash\nprintf "%s\\n" {name} "$@"\n')
        program.chmod(0o755)

    def run(script, *options, **variables):
        environment = {'PATH': f'{tmp_path}{os.pathsep}{os.environ["PATH"]}', **variables}
        command = [TOOLS / script, *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines(), done.stderr

    return run


@pytest.mark.parametrize('script', SCRIPTS)
def test_syntax_and_usage(script, printed):
    subprocess.run(['bash', '-n', TOOLS / script], check=True)
    status, output, error = printed(script)
    assert (status, output) == (2, [])
    assert error.startswith(f'# tools/{script} '), 'the usage'


@pytest.mark.parametrize(
    ('variables', 'rendezvous'),
    [
        ({}, ONE_MACHINE),
        ({'NNODES': '1'}, ONE_MACHINE),
        ({'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'head', 'PORT': '29501'}, TWO_MACHINES),
        ({'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'head'}, [*TWO_MACHINES[:-1], '29500']),
    ],
)
def test_torchrun_on_one_and_on_two_machines(printed, variables, rendezvous):
    torchrun = ['python', '-m', 'torch.distributed.run', *rendezvous, '--nproc_per_node', '4']
    status, output, _ = printed('dist_train.sh', 'my config.py', '4', '--amp', **variables)
    assert (status, output) == (0, [*torchrun, f'{TOOLS}/train.py', 'my config.py', '--launcher', 'pytorch', '--amp'])
    status, output, _ = printed('dist_test.sh', 'config.py', 'net.pth', '4', '--tta', **variables)
    wanted = [f'{TOOLS}/test.py', 'config.py', 'net.pth', '--launcher', 'pytorch', '--tta']
    assert (status, output) == (0, [*torchrun, *wanted])


@pytest.mark.parametrize('variable', ['NODE_RANK', 'MASTER_ADDR'])
def test_two_machines_must_know_of_each_other(printed, variable):
    variables = {'NNODES': '2', 'NODE_RANK': '0', 'MASTER_ADDR': 'head'}
    del variables[variable]
    status, output, error = printed('dist_train.sh', 'config.py', '4', **variables)
    assert (status, output) == (1, [])
    assert f'{variable}: unbound variable' in error


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
@pytest.mark.parametrize('variable', ['NNODES', 'NODE_RANK', 'PORT'])
@pytest.mark.parametrize('value', ['two', '2x', '-1', '1.5', ' 2', '02', '1234567890'])
def test_a_number_that_is_none_is_refused(printed, script, variable, value):
    variables = {'NNODES': '2', 'NODE_RANK': '0', 'MASTER_ADDR': 'head', variable: value}
    assert printed(script, 'config.py', 'net.pth', '4', **variables) == (
        2,
        [],
        f'{variable}={value} is not a whole number\n',
    )


def test_of_one_machine_the_rank_is_not_read(printed):
    """A cluster may set it to something else."""
    assert printed('dist_train.sh', 'config.py', '4', NNODES='', NODE_RANK='n1', PORT='tcp://')[0] == 0
    assert printed('dist_train.sh', 'config.py', '4', NNODES='0')[0] == 0


@pytest.mark.parametrize('variable', ['GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK'])
@pytest.mark.parametrize('value', ['two', '0', '-8', '8.5', '08', ' 8', '1' * 10, 'a[$(touch run)]', 'GPUS_PER_NODE'])
def test_slurm_refuses_what_is_no_number_and_runs_nothing(printed, tmp_path, variable, value):
    """Bash would evaluate an expression, with the commands in it."""
    value = value.replace('run', str(tmp_path / 'run'))
    assert printed('slurm_train.sh', 'short', 'toco', 'config.py', **{variable: value}) == (
        2,
        [],
        f'{variable}={value} is not a whole number above 0\n',
    )
    assert not (tmp_path / 'run').exists()


def test_options_of_srun_are_no_patterns_of_files(printed):
    _, output, _ = printed('slurm_train.sh', 'short', 'toco', 'config.py', SRUN_ARGS='--comment  *')
    assert output[output.index('--comment') + 1] == '*'


@pytest.mark.parametrize(
    ('variables', 'gpus', 'per_node', 'cpus', 'more'),
    [
        ({}, '8', '8', '8', []),
        ({'GPUS': '4'}, '4', '4', '8', []),
        (
            {'GPUS': '16', 'CPUS_PER_TASK': '5', 'SRUN_ARGS': '--time 1:00:00 --qos low'},
            '16',
            '8',
            '5',
            ['--time', '1:00:00', '--qos', 'low'],
        ),
        ({'GPUS': '12', 'GPUS_PER_NODE': '4'}, '12', '4', '8', []),
    ],
)
def test_slurm(printed, variables, gpus, per_node, cpus, more):
    status, output, _ = printed('slurm_train.sh', 'short', 'toco', 'config.py', '--seed', '1', **variables)
    assert status == 0
    assert output == [
        *('srun', '--partition', 'short', '--job-name', 'toco', '--ntasks', gpus, '--ntasks-per-node', per_node),
        *('--gres', f'gpu:{per_node}', '--cpus-per-task', cpus, '--kill-on-bad-exit', '1'),
        *more,
        *('python', f'{TOOLS}/train.py', 'config.py', '--launcher', 'slurm', '--seed', '1'),
    ]


def test_slurm_nodes_are_equal(printed):
    status, output, error = printed('slurm_train.sh', 'short', 'toco', 'config.py', GPUS='12')
    assert (status, output) == (2, [])
    assert 'GPUS=12 is no multiple of GPUS_PER_NODE=8' in error


def _config(folder, name: str, batch_size: int) -> Config:
    """Two iterations of a training without draws."""
    cfg = without_draws(stage1_config(folder))
    cfg.train_cfg.max_iters = 2
    cfg.train_dataloader.batch_size = batch_size
    cfg.work_dir = str(folder / name)
    cfg.experiment_name = f'{folder.name}-{name}'
    cfg.custom_hooks[1].folder = str(folder / name / 'losses')
    return cfg


def _free_port() -> str:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


@pytest.mark.slow
def test_four_processes_and_two_machines_train_as_one_process(tmp_path):
    """Two machines are played by two calls of the script on this one, which share nothing but address and port."""
    for name, batch_size in (('four', 1), ('machines', 2)):
        _config(tmp_path, name, batch_size).dump(tmp_path / f'{name}.py')
    script, common = TOOLS / 'dist_train.sh', {'NNODES': '2', 'MASTER_ADDR': '127.0.0.1', 'PORT': _free_port()}
    run_together(
        [script, tmp_path / 'four.py', '4'],
        *([{**common, 'NODE_RANK': rank}, script, tmp_path / 'machines.py', '1'] for rank in '01'),
    )
    Runner.from_cfg(_config(tmp_path, 'one', 4)).train()
    expected = read_losses(tmp_path / 'one' / 'losses')
    for name, processes in (('four', 4), ('machines', 2)):
        ranks = [read_losses(tmp_path / name / 'losses', rank) for rank in range(processes)]
        assert [len(lines) for lines in ranks] == [2] * processes
        for iteration, losses in enumerate(expected):
            mean = sum(lines[iteration]['loss'] for lines in ranks) / processes
            assert mean == pytest.approx(losses['loss'], abs=1e-5), f'{name}, iteration {iteration}'
        assert len({lines[0]['loss'] for lines in ranks}) == processes, 'every process reads images of its own'
