"""Run every benchmark, one after the other, each in a process of its own: ``python benchmarks/run_all.py --out DIR``.

Each writes its raw numbers to ``DIR/NAME.json`` and what it printed to ``DIR/NAME.md``. Existing results are not run
again, so the same command continues an interrupted run; ``--only NAME ...`` selects benchmarks. Sizes are those of the
papers on a GPU (``CUDA_VISIBLE_DEVICES=`` hides it); on a CPU they are small enough to end within an hour. Nothing else
should run on the machine.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from mmseg_wsss.fileio import whole_file
from mmseg_wsss.progress import progress_bar

HERE = Path(__file__).resolve().parent
TINY = 'configs/toco/toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py'


class Job(NamedTuple):
    """A benchmark and its arguments on either kind of device, ``None`` if it is not run there."""

    name: str
    script: str
    cpu: str | None
    cuda: str | None


JOBS = (
    Job('toco_speedup_float32', 'toco_speedup.py', '--no-amp --iters 2 --warmup 1', '--no-amp --iters 20 --warmup 5'),
    Job('toco_speedup_bfloat16', 'toco_speedup.py', '--amp --iters 2 --warmup 1', '--amp --iters 20 --warmup 5'),
    Job('toco_speedup_tiny', 'toco_speedup.py', f'--config {TINY} --iters 7', f'--config {TINY} --iters 20'),
    Job(
        'toco_speedup_compiled',
        'toco_speedup.py',
        None,
        '--amp --iters 20 --warmup 5 --cfg-options model.backbone.compile_blocks=True',
    ),
    Job('toco_step', 'toco_step.py', '--no-amp --iters 2 --warmup 1', '--amp --iters 20 --warmup 5'),
    Job('method_steps', 'method_steps.py', '', '--iters 20'),
    Job('weaktr_step', 'weaktr_step.py', '', '--iters 10'),
    Job('weaktr_step_bfloat16', 'weaktr_step.py', None, '--amp --iters 10'),
    Job('dense_energy', 'dense_energy.py', '', '--images 4'),
    Job('dense_crf_workers', 'dense_crf.py', '--images 0', None),
    Job('dense_crf', 'dense_crf.py', None, '--workers 0'),
    Job('crf_classes', 'crf_classes.py', '', None),
    Job('step_flops', 'step_flops.py', '', None),
    Job('data_pipeline', 'data_pipeline.py', '', '--workers 1 2 4 8'),
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = [job.name for job in JOBS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='such as benchmarks/results/h200')
    parser.add_argument('--only', nargs='+', choices=names, default=names, metavar='NAME', help=', '.join(names))
    return parser.parse_args(argv)


def run(job: Job, arguments: str, out: Path) -> None:
    """Run a benchmark; its output files get their names when it has succeeded.

    Raises:
        RuntimeError: it failed; the message has the end of its error output.
    """
    with whole_file(out / f'{job.name}.md') as text, whole_file(out / f'{job.name}.json') as raw:
        command = [sys.executable, str(HERE / job.script), *arguments.split(), '--json', str(raw.resolve())]
        done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f'{job.name} ended with {done.returncode}: {" ".join(command)}\n{done.stderr[-2000:]}')
        text.write_text(done.stdout)
    print(f'\n## {job.name}\n\n{done.stdout}', flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run what is missing; returns the exit status, 1 where something failed."""
    args = parse_args(argv)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    chosen = [(job, getattr(job, device)) for job in JOBS if job.name in args.only]
    left = [
        (job, arguments)
        for job, arguments in chosen
        if arguments is not None and not all((args.out / f'{job.name}.{kind}').exists() for kind in ('json', 'md'))
    ]
    failed = 0
    for job, arguments in progress_bar(left, text=f'benchmarks on {device}', unit=' benchmarks'):
        try:
            run(job, arguments, args.out)
        except RuntimeError as error:
            failed += 1
            print(error, file=sys.stderr)
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
