"""The shell scripts that start several processes: the command lines that they build."""

import os
import subprocess

import pytest
from tool_module import TOOLS

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
