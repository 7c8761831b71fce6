"""The script that runs every benchmark, with small scripts in their place."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import run_all

WRITE = "import sys; print('table of', sys.argv[1]); open(sys.argv[-1], 'w').write('[1]')"


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Three benchmarks: one for any device, one that needs a GPU, one that fails half-way."""
    scripts = tmp_path / 'scripts'
    scripts.mkdir()
    (scripts / 'write.py').write_text(WRITE)
    (scripts / 'fail.py').write_text(f"{WRITE}\nraise SystemExit('out of memory')")
    monkeypatch.setattr(run_all, 'HERE', scripts)
    monkeypatch.setattr(run_all.torch.cuda, 'is_available', lambda: False)
    listed = [
        run_all.Job('one', 'write.py', 'small', 'large'),
        run_all.Job('gpu', 'write.py', None, 'large'),
        run_all.Job('bad', 'fail.py', 'small', 'large'),
    ]
    monkeypatch.setattr(run_all, 'JOBS', listed)


def files(out):
    return {path.name: path.read_text() for path in out.iterdir()}


def test_what_fails_leaves_nothing_and_what_is_there_is_not_run_again(jobs, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run_all.main(['--out', str(out)]) == 1
    assert files(out) == {'one.json': '[1]', 'one.md': 'table of small\n'}
    said = capsys.readouterr()
    assert '## one\n\ntable of small' in said.out
    assert 'bad ended with 1' in said.err
    assert 'out of memory' in said.err
    (out / 'one.md').write_text('kept')
    assert run_all.main(['--out', str(out), '--only', 'one']) == 0
    assert files(out)['one.md'] == 'kept'


def test_on_a_gpu_everything_runs_at_the_size_of_the_papers(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(run_all.torch.cuda, 'is_available', lambda: True)
    assert run_all.main(['--out', str(tmp_path / 'out'), '--only', 'one', 'gpu']) == 0
    assert files(tmp_path / 'out')['gpu.md'] == 'table of large\n'


def test_every_benchmark_is_listed_and_understands_what_it_is_given():
    scripts = {path.name for path in Path(run_all.__file__).parent.glob('*.py') if 'def parse_args' in path.read_text()}
    # scaling_table.py reads what step_flops.py has written; mutation.py measures the tests; deployment.py needs
    # trained networks
    others = {'run_all.py', 'scaling_table.py', 'mutation.py', 'deployment.py'}
    assert {job.script for job in run_all.JOBS} == scripts - others
    for job in run_all.JOBS:
        script = Path(run_all.__file__).parent / job.script
        module = __import__(script.stem)
        for arguments in {job.cpu, job.cuda} - {None}:
            assert module.parse_args([*arguments.split(), '--json', 'x.json']).json == Path('x.json')
