"""Runs the demo's commands one after the other; what is complete is not done again, what was interrupted continues."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROGRESS = re.compile(r'Iter\((train|test)\)')
ROOT = Path(__file__).resolve().parents[1]


@dataclass(kw_only=True, frozen=True)
class Step:
    """One command line of the project's own tools.

    Args:
        title: what the step does, for people.
        folder: its folder; holds the step's state, its whole log and its results.
        name: tells the steps of one folder apart.
        command: arguments after the interpreter; the second one is a config, whose text belongs to the step's identity.
        fresh: the step begins its folder: whatever another command left there is removed.
    """

    title: str
    folder: Path
    name: str
    command: tuple[str, ...]
    fresh: bool = False

    @property
    def state(self) -> Path:
        """Where the identity of the step and, once it is complete, its duration are kept."""
        return self.folder / f'{self.name}.state.json'

    def identity(self) -> list[str]:
        """What has to be the same for an earlier result to count."""
        return [*self.command, Path(self.command[1]).read_text()]


def run(steps: list[Step]) -> None:
    """Run what is not complete.

    Raises:
        SystemExit: a command failed; the end of its log is shown.
    """
    for number, step in enumerate(steps, 1):
        heading = f'step {number}/{len(steps)}: {step.title}'
        before = json.loads(step.state.read_text()) if step.state.exists() else {}
        same = before.get('identity') == step.identity()
        if same and 'seconds' in before:
            print(f'{heading} -- complete already', flush=True)
            continue
        print(f'\n{heading}\n  $ python {" ".join(step.command)}', flush=True)
        if before and not same and step.fresh:
            shutil.rmtree(step.folder)
        _write(step.state, {'identity': step.identity()})
        start = time.time()
        _execute(step)
        _write(step.state, {'identity': step.identity(), 'seconds': round(time.time() - start, 1)})


def seconds(steps: list[Step]) -> float:
    """How long the steps took; of an interrupted one only the part after the interruption is counted."""
    return sum(json.loads(step.state.read_text())['seconds'] for step in steps)


def _write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + '.part')
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)


def _execute(step: Step) -> None:
    """Run one command in the project's root; its lines of progress are shown, everything goes to its log."""
    environment = dict(os.environ, PYTHONWARNINGS='ignore', PYTHONUNBUFFERED='1', PYTHONPATH=str(ROOT))
    path = step.folder / f'{step.name}.log'
    command = [sys.executable, '-m', 'demo.tool', *step.command]
    with (
        path.open('w', encoding='utf-8') as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8'
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
        print(''.join(path.read_text(encoding='utf-8').splitlines(keepends=True)[-25:]), file=sys.stderr)
        raise SystemExit(
            f'"{step.title}" failed (exit status {process.returncode}); its log is {path}. '
            'The steps before it are complete: mend the cause and run the same command again.'
        )


def _short(line: str) -> str:
    """mmengine's line of progress without date, level, rates and memory."""
    line = re.sub(r'^.* - INFO - ', '', line.strip())
    return re.sub(r' +(base_lr|lr|data_time|memory|decode\.acc_seg): \S+', '', line)[:200]
