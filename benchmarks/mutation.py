"""Mutation testing: how many small changes of the package do its tests notice?

    pip install pytest-cov
    python benchmarks/mutation.py --record          # once: which test runs which line, and for how long
    python benchmarks/mutation.py --sample 400 --seed 0 --out report.jsonl     # called again, it goes on

The suite is imported and collected once. Every mutant is a fork of that process: the code object of one function (or
one default, or one constant of a module or class) is replaced, then the tests that run the changed line are run, those
of the module's own test file first, until one fails. Other processes have the unchanged code: tests marked slow, which
start some, are left out, and lines that run in other processes only are counted as not covered.
"""

import argparse
import ast
import contextlib
import gc
import importlib
import json
import os
import random
import signal
import sys
import time
import types
from collections import Counter
from pathlib import Path

import coverage
import pytest
from mutation_code import ROOT, change, module_name, owner
from mutation_operators import mutants

PARTS = ('models', 'evaluation', 'pseudo_labels', 'datasets', 'engine', 'structures', 'checkpoints')
DATA, DURATIONS = ROOT / '.coverage', ROOT / '.coverage.json'  # written by --record
_CPU_SECONDS = 30  # of one mutant's tests; it survives those that are left
_WALL_SECONDS = 300  # a test that hangs is ended, and the mutant is killed
KILLED, SURVIVED, NOT_COVERED, NOT_APPLIED = 'killed', 'survived', 'not covered', 'not applied'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paths', nargs='*', type=Path, help=f'files or folders; default: {", ".join(PARTS)}')
    parser.add_argument('--sample', type=int, help='number of mutants, drawn at random; default: all')
    parser.add_argument('--seed', type=int, default=0, help='of the sample')
    parser.add_argument('--record', action='store_true', help='run the tests and note which lines each of them runs')
    parser.add_argument('--out', type=Path, default=Path('mutation.jsonl'), help='one line per mutant')
    parser.add_argument('--again', type=Path, help='run those again that did not die in this report')
    parser.add_argument('--jobs', type=int, default=2, help='mutants at a time')
    return parser.parse_args()


def read(report: Path) -> list[dict]:
    """The mutants of an earlier run, or of this one when it was interrupted."""
    return [json.loads(line) for line in report.read_text().splitlines()] if report.is_file() else []


def plan(args: argparse.Namespace) -> list[tuple[Path, int]]:
    """File and number (in the order of its text) of every mutant to run."""
    if args.again:
        return [(ROOT / each['file'], each['number']) for each in read(args.again) if each['outcome'] != KILLED]
    files = [
        file
        for path in args.paths or [ROOT / 'mmseg_wsss' / part for part in PARTS]
        for file in ([path.resolve()] if path.is_file() else sorted(path.resolve().rglob('*.py')))
    ]
    every = [(file, i) for file in files for i, _ in enumerate(mutants(ast.parse(file.read_text())))]
    chosen = random.Random(args.seed).sample(every, min(args.sample or len(every), len(every)))
    print(f'{len(chosen)} of {len(every)} mutants of {len(files)} files')
    return sorted(chosen)


class Durations:
    """pytest's plugin: the seconds of every test with its fixtures."""

    def __init__(self) -> None:
        self.seconds: Counter = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration


def record() -> int:
    """Run the tests with ``pytest-cov``."""
    plugin = Durations()
    status = pytest.main(['-m', 'not slow', '--cov=mmseg_wsss', '--cov-context=test', '--cov-report='], [plugin])
    DURATIONS.write_text(json.dumps(plugin.seconds))
    return status


class Mutation:
    """pytest's plugin: in place of the run of all tests, a run of each mutant's tests in a fork."""

    def __init__(self, planned: list[tuple[Path, int]], out: Path, jobs: int) -> None:
        self.out, self.jobs, self.report = out, jobs, read(out)
        done = {(ROOT / each['file'], each['number']) for each in self.report}
        self.planned = [each for each in planned if each not in done]
        self.data = coverage.CoverageData(str(DATA))
        self.data.read()
        self.seconds = json.loads(DURATIONS.read_text())

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        session.config._tmp_path_factory.getbasetemp()
        for file in {file for file, _ in self.planned}:
            importlib.import_module(module_name(file))
        self.functions: dict[str, list[types.FunctionType]] = {}
        for each in gc.get_objects():
            if isinstance(each, types.FunctionType):
                self.functions.setdefault(each.__code__.co_filename, []).append(each)
        running: dict[int, dict] = {}
        for file, number in self.planned:
            entry = self._entry(file, number)
            tests = entry.pop('tests')
            if not tests:
                self._note(entry, NOT_COVERED)
                continue
            while len(running) >= self.jobs:
                self._wait(running)
            if pid := os.fork():
                running[pid] = entry
            else:
                _child(file, number, self.functions.get(str(file), []), [self.items[test] for test in tests])
        while running:
            self._wait(running)
        return True

    def counts(self) -> Counter:
        """Mutants by their outcome."""
        return Counter(each['outcome'] for each in self.report)

    def _wait(self, running: dict[int, dict]) -> None:
        pid, status = os.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # processes that a test started
        code = os.waitstatus_to_exitcode(status)  # negative: a signal, that of the time limit among them
        self._note(running.pop(pid), {0: SURVIVED, 3: NOT_APPLIED}.get(code, KILLED))

    def _note(self, entry: dict, outcome: str) -> None:
        self.report.append({**entry, 'outcome': outcome})
        with self.out.open('a') as file:
            file.write(json.dumps(self.report[-1]) + '\n')
        if outcome != KILLED:
            print(f'{len(self.report)} {outcome:12} {entry["file"]}:{entry["line"]}  {entry["text"]}', flush=True)

    def _entry(self, file: Path, number: int) -> dict:
        tree = ast.parse(file.read_text())
        mutant = list(mutants(tree))[number]
        covered = self.data.contexts_by_lineno(str(file))
        tests = self._tests(covered, [mutant.line])
        if not tests:  # defaults and constants run at the import: take the tests of their function, class or module
            around = owner(tree, mutant.node)
            lines = range(around.lineno, around.end_lineno + 1) if not isinstance(around, ast.Module) else covered
            tests = self._tests(covered, lines)
        if not tests:  # a module of constants: take the tests of its folder
            folder = f'tests/{file.parent.relative_to(ROOT / "mmseg_wsss")}/'
            tests = [name for name in self.items if name.startswith(folder)]
        mirrored = f'test_{file.stem}.py'
        tests.sort(key=lambda test: (mirrored not in test, self.seconds.get(test, 0)))
        return dict(file=str(file.relative_to(ROOT)), number=number, line=mutant.line, text=mutant.text, tests=tests)

    def _tests(self, covered: dict[int, list[str]], lines: object) -> list[str]:
        names = {context.rpartition('|')[0] for line in lines for context in covered.get(line, ())}
        return [name for name in names if name in self.items]


def _child(file: Path, number: int, own: list[types.FunctionType], items: list[pytest.Item]) -> None:
    """Change the code and run the tests; the exit status says whether one failed."""
    os.setsid()
    signal.alarm(_WALL_SECONDS)
    began = time.process_time()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    try:
        applied = change(file, number, own)
    except BaseException:
        applied = False
    if not applied:
        os._exit(3)
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.testsfailed:
            os._exit(1)
        if time.process_time() - began > _CPU_SECONDS:
            break
    os._exit(0)


def main() -> None:
    args = parse_args()
    if args.record:
        sys.exit(record())
    plugin = Mutation(plan(args), args.out, args.jobs)
    quiet = ['-q', '-s', '-p', 'no:cacheprovider', '-o', 'tmp_path_retention_policy=none']
    pytest.main([*quiet, '-m', 'not slow', str(ROOT / 'tests')], [plugin])
    counts = plugin.counts()
    ran = counts[KILLED] + counts[SURVIVED]
    print(dict(counts), f'{counts[KILLED] / max(1, ran):.1%} of those that ran were killed')


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    main()
