"""Steps: complete ones are skipped, changed ones done anew, interrupted ones go on, failing ones explain themselves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmseg_wsss.engine.steps import Step, run_steps, seconds

ROOT = Path(__file__).parents[2]
# Appends one line per call to NAME.calls beside the script; leaves RESULT.
SCRIPT = """
import pathlib, sys
name, result = sys.argv[1:]
with open(pathlib.Path(__file__).with_name('calls'), 'a') as calls:
    calls.write(name + '\\n')
pathlib.Path(result).write_text(name)
print('Iter(train) [1/2] eta: 0')
print('not progress')
"""


class Chain:
    """Two steps, the second of which needs the first, and the order in which their commands were called."""

    def __init__(self, root):
        self.root = root
        self.config = root / 'toy.py'
        self.config.write_text("_base_ = './base.py'\n")
        (root / 'base.py').write_text('a = 1\n')
        (root / 'script.py').write_text(SCRIPT)

    def steps(self):
        first = self._step('first', fresh=True, configs=(self.config,))
        return [first, self._step('second', needs=(first,), fresh=True)]

    def _step(self, name, **more):
        folder = self.root / 'out' / name
        result = folder / 'result'
        command = (str(self.root / 'script.py'), name, str(result))
        return Step(title=f'do {name}', folder=folder, name='work', command=command, results=(result,), **more)

    def run(self):
        """Run both; the commands that were called this time."""
        calls = self.root / 'calls'
        calls.unlink(missing_ok=True)
        run_steps(self.steps(), self.root / 'out' / '.lock')
        return calls.read_text().split() if calls.exists() else []


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


def test_complete_steps_are_skipped(chain, capsys):
    assert chain.run() == ['first', 'second']
    shown = capsys.readouterr().out
    assert 'step 2/2: do second\n  $ python ' in shown
    assert 'Iter(train) [1/2]' in shown
    assert 'not progress' not in shown
    assert chain.run() == []
    assert (
        capsys.readouterr().out == 'step 1/2: do first -- complete already\nstep 2/2: do second -- complete already\n'
    )
    assert chain.steps()[0].log.read_text() == 'Iter(train) [1/2] eta: 0\nnot progress\n'
    assert 0 < seconds(chain.steps()) < 60


def test_a_changed_inherited_value_does_all_that_depends_on_it_anew_and_keeps_the_old_results(chain, capsys):
    chain.run()
    first, second = chain.steps()
    (first.folder / 'iter_100.pth').write_text('old')
    (chain.root / 'base.py').write_text('a = 1  # a comment is no change\n')
    assert chain.run() == []
    (chain.root / 'base.py').write_text('a = 2\n')
    assert chain.run() == ['first', 'second']
    assert not (first.folder / 'iter_100.pth').exists()
    assert (chain.root / 'out/first.old/iter_100.pth').read_text() == 'old'
    assert (chain.root / 'out/second.old/result').read_text() == 'second'
    assert f'{second.folder} was made with other settings: moved to' in capsys.readouterr().out


def test_a_lost_result_is_made_again_and_what_was_made_of_it(chain):
    chain.run()
    chain.steps()[1].results[0].unlink()
    assert chain.run() == ['second']
    chain.steps()[0].results[0].unlink()
    assert chain.run() == ['first', 'second']


def test_an_interrupted_step_goes_on_in_its_folder(chain):
    chain.run()
    second = chain.steps()[1]
    record = json.loads(second.state.read_text())
    second.state.write_text(json.dumps({'identity': record['identity']}))  # as it is while the command runs
    (second.folder / 'iter_100.pth').touch()
    assert chain.run() == ['second']
    assert (second.folder / 'iter_100.pth').exists()


def test_a_failing_command_costs_one_step_and_shows_the_end_of_its_log(chain, capsys):
    script = chain.root / 'script.py'
    script.write_text(f'{SCRIPT}\nif name == "second":\n    raise RuntimeError("no disk")\n')
    with pytest.raises(SystemExit, match=r'"do second" failed \(exit status 1\); its log is .*second/work\.log'):
        chain.run()
    shown = capsys.readouterr()
    assert shown.err.rstrip().endswith('RuntimeError: no disk')
    script.write_text(SCRIPT)
    assert chain.run() == ['second']


def test_a_command_that_leaves_no_result_is_not_complete(chain):
    (chain.root / 'script.py').write_text('')
    with pytest.raises(SystemExit, match=r'"do first" ended without an error but left no .*first/result'):
        chain.run()
    assert 'seconds' not in chain.steps()[0].recorded()


def test_a_damaged_state_is_named(chain):
    chain.run()
    chain.steps()[0].state.write_text('{')
    with pytest.raises(SystemExit, match=r'first/work\.state\.json is damaged .*: remove it to do first again'):
        chain.run()


RUNNER = """
import sys
from pathlib import Path
import mmseg_wsss
from mmseg_wsss.engine.steps import Step, run_steps
root = Path(sys.argv[1])
code = 'import pathlib, os, time; pathlib.Path({!r}).write_text(str(os.getpid())); time.sleep(100)'
step = Step(title='sleep', folder=root / 'a', name='sleep', command=('-c', code.format(str(root / 'pid'))))
run_steps([step], root / '.lock')
"""


@pytest.fixture
def asleep(tmp_path):
    """A run in another process, in the middle of its command; the number of the command's process."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    process = subprocess.Popen([sys.executable, '-c', RUNNER, str(tmp_path)], env=environment)
    pid = tmp_path / 'pid'
    deadline = time.monotonic() + 300
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int(pid.read_text())
    yield process, child
    for number in (process.pid, child):
        if alive(number):
            os.kill(number, signal.SIGKILL)
    process.wait()


def alive(pid):
    state = Path(f'/proc/{pid}/stat')
    return state.exists() and state.read_text().rsplit(')', 1)[1].split()[0] != 'Z'


def gone(pid):
    deadline = time.monotonic() + 100
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_a_polite_kill_stops_the_command_too(asleep):
    process, child = asleep
    process.terminate()
    assert process.wait(100) == 128 + signal.SIGTERM
    assert gone(child)


def test_what_a_hard_kill_leaves_behind_is_not_disturbed(asleep, tmp_path):
    process, child = asleep
    process.kill()
    process.wait()
    assert alive(child), 'the command outlives the run that started it'
    with pytest.raises(SystemExit, match=rf'another run is at work in {tmp_path}.*a command that a killed run left'):
        run_steps([], tmp_path / '.lock')
    os.kill(child, signal.SIGKILL)
    assert gone(child)
    run_steps([], tmp_path / '.lock')
