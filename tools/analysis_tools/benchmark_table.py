"""The table and pictures of a benchmark: ``python tools/analysis_tools/benchmark_table.py PLAN.yml PAGE.md``.

With ``--work-dir DIR``, the folder of tools/benchmark.py, the numbers, steps and logs of all runs there are first
copied to the folder PAGE: ``records.jsonl`` (a line per run and seed), ``steps.jsonl`` (a line per command) and
``RUN_SEED.jsonl`` (losses). From these alone are made: the table between the lines ``<!-- table -->`` and
``<!-- end of table -->`` of PAGE.md, and the pictures ``minutes.png`` (mIoU against CPU minutes) and ``classes.png``.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('plan', type=Path, help='YAML file of tools/benchmark.py')
    parser.add_argument('page', type=Path, help='Markdown file with the two marks')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='of tools/benchmark.py')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark import read_plan
from run_two_stage import Stage

from mmseg_wsss.apis.run_folder import losses_of
from mmseg_wsss.fileio import write_text
from mmseg_wsss.text_files import read_json, read_text

MARKS = '<!-- table -->\n', '<!-- end of table -->\n'
TESTS = {'val': 'test.json', 'val MS': 'test_tta.json', 'val MS + CRF': 'test_tta_crf.json'}
HEAD = ('method', 'CAM', 'labels', 'segmentation', *TESTS, 'share of counterpart', 'images', 'CPU min', 'MiB', 'seeds')


def lines_of(path: Path) -> list[dict]:
    """The objects of a file of JSON lines; none if there is no file."""
    return [json.loads(line) for line in read_text(path).splitlines()] if path.is_file() else []


def write_lines(path: Path, objects: Iterable[dict]) -> None:
    """Write a file of JSON lines."""
    write_text(path, ''.join(json.dumps(one) + '\n' for one in objects))


def record_of(name: str, run: dict, folder: Path) -> dict:
    """What is known of a run of one seed, in percent, seconds and MiB."""
    record: dict = {'run': name, 'seed': int(folder.name)}
    if (tested := folder / 'train' / 'test.json').is_file():
        metrics = read_json(tested)['metrics']
        if 'cam/best_mIoU' in metrics:
            record |= {'CAM': metrics['cam/best_mIoU'], 'CAM threshold': metrics['cam/best_threshold']}
        record['segmentation'] = metrics.get('seg/mIoU')
    if (compared := folder / 'labels' / 'iou.json').is_file():
        found = read_json(compared)
        record |= {'labels': found['mIoU'], 'labels IoU': found.get('IoU')}
    for key, file in TESTS.items():
        if (folder / file).is_file():
            found = read_json(folder / file)
            record |= {key: found['metrics']['seg/mIoU'], f'{key} IoU': found['IoU']['seg']}
    steps = lines_of(folder / 'steps.jsonl')
    trained, labelled = (
        [one for one in steps if f'tools/{tool}.py' in one['command']] for tool in ('train', 'make_pseudo_labels')
    )
    record |= {
        f'CPU s {key}': sum(one['CPU s'] for one in kind) for key, kind in (('train', trained), ('label', labelled))
    }
    record['MiB'] = max((one['peak MiB'] for one in trained if one['peak MiB']), default=None)
    if trained:
        cfg = Stage(Path(run['config']), run['options'], folder).cfg
        record['images'] = cfg.train_cfg.max_iters * cfg.train_dataloader.batch_size
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in record.items()}


def collect(plan: dict, work_dir: Path, out: Path) -> None:
    """Copy numbers, steps and the losses' logs."""
    folders = {
        (name, seed): folder
        for name, run in plan['runs'].items()
        for seed in run['seeds']
        if (folder := work_dir / name / str(seed)).is_dir()
    }
    write_lines(
        out / 'records.jsonl', (record_of(name, plan['runs'][name], folder) for (name, _), folder in folders.items())
    )
    steps = [one for folder in folders.values() for one in lines_of(folder / 'steps.jsonl')]
    write_lines(out / 'steps.jsonl', [one | {'command': one['command'].replace(str(work_dir), 'DIR')} for one in steps])
    for (name, seed), folder in folders.items():
        log = losses_of(folder)
        kept = ({k: float(f'{v:.5g}') for k, v in one.items() if k not in ('step', 'base_lr')} for one in log)
        if log:
            write_lines(out / f'{name}_{seed}.jsonl', kept)


class Results:
    """The records of a plan's runs."""

    def __init__(self, plan: dict, records: list[dict]) -> None:
        self.runs = plan['runs']
        self.records = {(one['run'], one['seed']): one for one in records}

    def chain(self, name: str, seed: int) -> list[dict]:
        """The records of all that a run needs, each once, those of its labels' sources first; its own is the last."""
        run, found = self.runs[name], []
        for source in filter(None, [run.get('network'), run.get('masks'), *run.get('combine', [])]):
            seeds = self.runs[source]['seeds']
            found += [one for one in self.chain(source, seed if seed in seeds else seeds[0]) if one not in found]
        return [*found, self.records.get((name, seed), {})]

    def values(self, name: str, key: str) -> list:
        """A number for every seed that has it; CAM and labels are those that the run was trained on, if it was."""
        found = []
        for seed in self.runs[name]['seeds']:
            *before, own = self.chain(name, seed)
            if key in ('CAM', 'labels'):
                known = before if 'masks' in self.runs[name] else [*before, own]
                found += [one[key] for one in known if one.get(key) is not None][-1:]
            elif key in own:
                summed = {'images': [*before, own], 'CPU s train': [*before, own], 'CPU s label': before}
                found.append(sum(one.get(key, 0) for one in summed[key]) if key in summed else own[key])
        return [one for one in found if one is not None]

    def row(self, name: str) -> list[str]:
        """The cells of a run; an empty one was not run or does not exist."""
        bound, shares = self.runs[name].get('counterpart'), ''
        if bound:
            pairs = [(self.values(name, key), self.values(bound, key)) for key in ('val', 'val MS + CRF')]
            shares = ' / '.join(f'{100 * np.mean(a) / np.mean(b):.1f} %' for a, b in pairs if a and b)
        cells = [spread(self.values(name, key)) for key in HEAD[1:7]]
        images, trained, labelled = (self.values(name, key) for key in ('images', 'CPU s train', 'CPU s label'))
        peak, seeds = self.values(name, 'MiB'), len(self.values(name, 'images'))
        minutes = f'{np.mean(trained) / 60:.0f} + {np.mean(labelled) / 60:.0f}' if seeds else 'not run'
        numbers = [f'{images[0]:,}' if seeds else '', minutes, f'{max(peak):,.0f}' if peak else '', str(seeds)]
        return [self.runs[name]['title'], *cells, shares, *numbers]

    def table(self) -> str:
        """The rows of all runs with a title, in the order of the plan."""
        rows = [HEAD, ('---', *['--:'] * (len(HEAD) - 1))]
        rows += [self.row(name) for name, run in self.runs.items() if 'title' in run]
        return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def spread(values: list[float]) -> str:
    """``mean ± standard deviation`` of several, the value of one."""
    if not values:
        return ''
    return f'{np.mean(values):.1f}' + (f' ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else '')


def draw(results: Results, out: Path) -> None:
    """Both pictures."""
    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot as plt

    shown = [name for name, run in results.runs.items() if 'title' in run and results.values(name, 'val')]
    titles = [results.runs[name]['title'] for name in shown]
    figure, axes = plt.subplots(figsize=(7, 4.5), layout='constrained')
    for name, title in zip(shown, titles, strict=True):
        minutes = sum(np.mean(results.values(name, f'CPU s {key}')) for key in ('train', 'label')) / 60
        mious = results.values(name, 'val')
        middle = np.mean(mious)
        bars = axes.errorbar(minutes, middle, [[middle - min(mious)], [max(mious) - middle]], fmt='o')
        axes.annotate(title, (minutes, middle), (6, 4), textcoords='offset points', color=bars[0].get_color())
    axes.set(xlabel='minutes of one CPU core: trainings and labels', ylabel='mIoU on val, single scale (%)')
    axes.margins(x=0.25)
    figure.savefig(out / 'minutes.png', dpi=110)
    plt.close(figure)

    figure, axes = plt.subplots(figsize=(9, 4), layout='constrained')
    width = 0.85 / len(shown)
    for index, (name, title) in enumerate(zip(shown, titles, strict=True)):
        ious = results.values(name, 'val IoU')
        classes = [*ious[0]]
        heights = [np.mean([one[key] for one in ious]) for key in classes]
        axes.bar(np.arange(len(classes)) + index * width, heights, width, label=title)
    axes.set_xticks(np.arange(len(classes)) + 0.4, classes)
    axes.set(ylabel='IoU on val, single scale (%)')
    axes.legend(fontsize='small', ncols=2, loc='lower right')
    figure.savefig(out / 'classes.png', dpi=110)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """Collect, write the table into the page, draw."""
    args = parse_args(argv)
    plan, out = read_plan(args.plan), args.page.with_suffix('')
    text = read_text(args.page)
    if not all(text.count(mark) == 1 for mark in MARKS):
        sys.exit(f'error: {args.page} needs the lines {" and ".join(mark.strip() for mark in MARKS)}, each once')
    if args.work_dir:
        collect(plan, args.work_dir, out)
    results = Results(plan, lines_of(out / 'records.jsonl'))
    before, rest = text.split(MARKS[0])
    table = results.table()
    write_text(args.page, f'{before}{MARKS[0]}{table}{MARKS[1]}{rest.split(MARKS[1])[1]}')
    draw(results, out)
    print(table)


if __name__ == '__main__':
    main()
