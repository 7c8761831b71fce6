"""Print every published number, the commands that reproduce it, and ours: ``python tools/published_numbers.py``.

A markdown table of configs/published_numbers.yml, then the commands of the pseudo-labels that second stages learn
from. A training that several rows share needs to be run only once; all paths are relative to the repository.
"""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.fileio import load

DATA = Path(__file__).resolve().parents[1] / 'configs' / 'published_numbers.yml'
HEADER = '| paper | row | commands | published | ours |\n|---|---|---|---|---|'


def training(name: str, run: dict[str, Any]) -> str:
    """The command of a training."""
    command = ['python', 'tools/train.py', f'configs/{run["config"]}', '--work-dir', f'work_dirs/{name}']
    if 'options' in run:
        command += ['--cfg-options', *run['options']]
    return shlex.join(command)


def after(command: str, name: str, run: dict[str, Any]) -> str:
    """A command on the result of a training, with the config that it saved, which includes all options."""
    folder = f'work_dirs/{name}'
    return command.format(
        config=f'{folder}/{Path(run["config"]).name}', checkpoint=f'$(cat {folder}/last_checkpoint)', dir=folder
    )


def numbers(values: dict[str, float] | None) -> str:
    """``mIoU 74.0``, several separated by commas; ``not run`` for none."""
    return ', '.join(f'{key} {value:.1f}' for key, value in values.items()) if values else 'not run'


def commands(data: dict[str, Any], row: dict[str, Any]) -> str:
    """What reproduces a row."""
    run = data['runs'][row['run']]
    lines = [training(row['run'], run), after(data['tests'][row['test']], row['run'], run)]
    first = f'pseudo-labels `{run["needs"]}` (below), then ' if 'needs' in run else ''
    return first + ' then '.join(f'`{line}`' for line in lines)


def lines(data: dict[str, Any]) -> Iterator[str]:
    """The table and the list below it."""
    yield HEADER
    for table, rows in data['tables'].items():
        for row in rows:
            published = f'{numbers(row["published"])} ({row["test"]})'
            cells = (table, row['row'], commands(data, row), published, numbers(row.get('ours')))
            yield '| ' + ' | '.join(cells) + ' |'
    yield '\nPseudo-labels:\n'
    for name, labels in data['labels'].items():
        run = data['runs'][labels['run']]
        yield f'- `{name}`: `{training(labels["run"], run)}` then `{after(labels["command"], labels["run"], run)}`'


def main(argv: list[str] | None = None) -> None:
    """Print."""
    argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False).parse_args(argv)
    print(*lines(load(DATA)), sep='\n')


if __name__ == '__main__':
    main()
