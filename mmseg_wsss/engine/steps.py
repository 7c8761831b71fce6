"""Command lines one after the other: what is complete is not done again, what was interrupted continues."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mmengine.config import Config

from ..fileio import whole_file

PROGRESS = re.compile(r'Iter\((train|test)\)|^(sweep|pseudo-labels) \d+/\d+')  # of mmengine and of the label tool
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 25  # lines of a failed command's log


@dataclass(kw_only=True, frozen=True)
class Step:
    """One command line.

    Args:
        title: what the step does, for people.
        folder: its folder; holds the step's state and its whole log. The command may write its results there too.
        name: tells the steps of one folder apart.
        command: arguments of the Python interpreter.
        extra: further arguments that change how the step works but not what it makes, such as a number of processes;
            they do not belong to its identity.
        configs: config files; their content, with all they inherit, belongs to the step's identity.
        needs: steps listed before this one whose results it reads; where one of them is done anew, so is this one.
        results: files or folders that must be there for the step to count as complete.
        fresh: the step begins its folder: what another command left there is moved to ``FOLDER.old``.
    """

    title: str
    folder: Path
    name: str
    command: tuple[str, ...]
    extra: tuple[str, ...] = ()
    configs: tuple[Path, ...] = ()
    needs: tuple[Step, ...] = ()
    results: tuple[Path, ...] = ()
    fresh: bool = False

    @property
    def state(self) -> Path:
        """Where the identity of the step and, once it is complete, its end and duration are kept."""
        return self.folder / f'{self.name}.state.json'

    @property
    def log(self) -> Path:
        """Everything that the command printed last time."""
        return self.folder / f'{self.name}.log'

    def recorded(self) -> dict:
        """What an earlier call left: nothing, or its identity, and ``end`` and ``seconds`` if it came through."""
        try:
            return json.loads(self.state.read_text(encoding='utf-8'))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise SystemExit(f'error: {self.state} is damaged ({error}): remove it to {self.title} again') from None

    def identity(self) -> list[str]:
        """What has to be the same for an earlier result to count."""
        needed = [f'{step.name} of {step.folder.name}: {step.recorded().get("end")}' for step in self.needs]
        return [*self.command, *map(_digest, self.configs), *needed]


def run_steps(steps: Sequence[Step], lock: Path) -> None:
    """Run what is not complete, in this order.

    Args:
        steps: the commands.
        lock: a file that the steps of one run share. It is locked as long as this process or the command that it
            started lives: killed runs may leave a command behind, and two must not write to one folder.

    Raises:
        SystemExit: a command failed (the end of its log is shown) or left a result out, or another run is at work.
    """
    with _locked(lock) as held, _stopped_by_sigterm():
        for number, step in enumerate(steps, 1):
            heading = f'step {number}/{len(steps)}: {step.title}'
            identity, before = step.identity(), step.recorded()
            same = before.get('identity') == identity
            if same and 'seconds' in before and all(path.exists() for path in step.results):
                print(f'{heading} -- complete already', flush=True)
                continue
            print(f'\n{heading}\n  $ python {" ".join((*step.command, *step.extra))}', flush=True)
            if before and not same and step.fresh:
                _set_aside(step.folder)
            _write(step.state, {'identity': identity})
            start = time.monotonic()
            _execute(step, held)
            _check_results(step)
            end = datetime.now().isoformat()
            _write(step.state, {'identity': identity, 'end': end, 'seconds': round(time.monotonic() - start, 3)})


def seconds(steps: Sequence[Step]) -> float:
    """How long the steps took; of an interrupted one only the part after the interruption is counted."""
    return sum(step.recorded()['seconds'] for step in steps)


def _digest(config: Path) -> str:
    """A config's name and what is in it, wherever that was inherited from."""
    content = json.dumps(Config.fromfile(config).to_dict(), sort_keys=True, default=str)
    return f'{config.name}: {hashlib.sha256(content.encode()).hexdigest()}'


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the lock; the commands inherit the open file and hold it with us."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f'error: another run is at work in {path.parent}, or a command that a killed run left behind '
                f'(`fuser {path}` names the process): wait for its end or stop it'
            ) from None
        yield file.fileno()


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """A polite kill ends like Ctrl-C: the running command is stopped too."""

    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _set_aside(folder: Path) -> None:
    """Make room for results of another command; the last ones are kept, in case that they are missed."""
    old = folder.with_name(f'{folder.name}.old')
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    print(f'  {folder} was made with other settings: moved to {old}', flush=True)


def _write(path: Path, content: dict) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')


def _execute(step: Step, lock: int) -> None:
    """Run one command; its lines of progress are shown, everything goes to its log."""
    paths = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get('PYTHONPATH'))))
    environment = dict(os.environ, PYTHONWARNINGS='ignore', PYTHONUNBUFFERED='1', PYTHONPATH=paths)
    streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'encoding': 'utf-8', 'errors': 'replace'}
    with (
        step.log.open('w', encoding='utf-8') as log,
        subprocess.Popen(
            [sys.executable, *step.command, *step.extra], env=environment, pass_fds=(lock,), **streams
        ) as process,
    ):
        try:
            for line in process.stdout:
                log.write(line)
                if PROGRESS.search(line):
                    print('  ' + _short(line), flush=True)
        except BaseException:  # Ctrl-C too: leave no training behind
            process.terminate()
            raise
    if process.returncode:
        print(''.join(step.log.read_text(encoding='utf-8').splitlines(keepends=True)[-_SHOWN:]), file=sys.stderr)
        raise SystemExit(
            f'"{step.title}" failed (exit status {process.returncode}); its log is {step.log}. '
            'The steps before it are complete: mend the cause and run the same command again.'
        )


def _check_results(step: Step) -> None:
    for path in step.results:
        if not path.exists():
            raise SystemExit(f'"{step.title}" ended without an error but left no {path}; its log is {step.log}')


def _short(line: str) -> str:
    """mmengine's line of progress without date, level, rates and memory."""
    line = re.sub(r'^.* - INFO - ', '', line.strip())
    return re.sub(r' +(base_lr|lr|data_time|memory|decode\.acc_seg): \S+', '', line)[:200]
