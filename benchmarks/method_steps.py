"""Seconds and memory of one training iteration of every method, side by side: ``python benchmarks/method_steps.py``.

The configs of the six classes of PASCAL VOC, all losses on, each batch loaded beforehand, random weights. The methods
take turns, so that a busy machine disturbs all of them alike. Memory is counted: the peak of what the operations of
an iteration allocate, parameters and optimizer states not included.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from allocation_counter import AllocationCounter
from machine import machine, new_parser, report
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from toco_step import ROOT, build_cfg, use_drawn_images_if_absent
from torch import nn

CONFIGS = {
    'toco': 'toco/toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'seco': 'seco/seco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'dupl': 'dupl/dupl_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'more': 'more/more_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'weaktr': 'weaktr/weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py',
    'mctformer': 'mctformer/mctformer-cam_deit-t16_1xb32-588_voc12-animals-224x224.py',
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, device=True)
    parser.add_argument('--methods', nargs='+', choices=[*CONFIGS], default=[*CONFIGS], help='default: all')
    parser.add_argument('--iters', type=int, default=5, help='measured iterations (default: 5)')
    parser.add_argument('--batch-size', type=int, help="default: the config's")
    args = parser.parse_args(argv)
    if args.iters < 1:
        parser.error('--iters must be at least 1')
    return args


class Training:
    """A model whose losses have all begun, its optimizer, and its first batches."""

    def __init__(self, cfg: Config, folder: Path, args: argparse.Namespace) -> None:
        self.images = cfg.train_dataloader.batch_size
        self.data = use_drawn_images_if_absent(cfg, folder)
        model = MODELS.build(cfg.model)
        model.init_weights()
        self.model: nn.Module = model.to(args.device).train()
        if hasattr(model, 'starts'):
            model.iteration = max(model.starts.values(), default=0)
        self.optim = build_optim_wrapper(model, cfg.optim_wrapper)
        loader = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
        self.batches = [next(loader) for _ in range(args.iters + 2)]

    def step(self, index: int) -> tuple[float, float]:
        """Wall and CPU seconds of an iteration."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.model.train_step(self.batches[index], self.optim)
        if next(self.model.parameters()).is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - wall, time.process_time() - cpu

    def memory(self) -> int:
        """Peak bytes of the tensors of an iteration, counted."""
        with AllocationCounter() as counted:
            self.step(1)
        return counted.peak


def measure(args: argparse.Namespace) -> dict:
    """Seconds of every iteration and counted memory by method, and the machine."""
    init_default_scope('mmseg')
    set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in args.methods:
            args.config, args.cfg_options, args.amp = ROOT / 'configs' / CONFIGS[name], None, None
            found[name] = Training(build_cfg(args), Path(folder) / name, args)
        for training in found.values():
            training.step(0)  # the optimizer makes its states
        peaks = {name: training.memory() for name, training in found.items()}
        turns = [{name: one.step(2 + turn) for name, one in found.items()} for turn in range(args.iters)]
    methods = {
        name: dict(
            images=one.images,
            data=one.data,
            peak=peaks[name],
            wall_s=[turn[name][0] for turn in turns],
            cpu_s=[turn[name][1] for turn in turns],
        )
        for name, one in found.items()
    }
    return dict(machine(torch.device(args.device)), methods=methods)


def to_table(record: dict) -> str:
    """Markdown: medians of the iterations, and CPU seconds per image as multiples of the first method's."""
    lines = ['| method | images | wall s | CPU s | CPU s per image | to the first | peak, counted, MiB |']
    lines.append('|---' + '|--:' * 6 + '|')
    base = None
    for name, one in record['methods'].items():
        wall, cpu = statistics.median(one['wall_s']), statistics.median(one['cpu_s'])
        each = cpu / one['images']
        base = base or each
        numbers = f'{wall:.2f} | {cpu:.2f} | {each:.3f} | {each / base:.2f} | {one["peak"] / 2**20:.0f}'
        lines.append(f'| {name} | {one["images"]} | {numbers} |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    MMLogger.get_instance('benchmark', log_level='ERROR')  # of the table, not of every parameter's initialisation
    args = parse_args(argv)
    record = measure(args)
    report(to_table(record), record, args.json)


if __name__ == '__main__':
    main()
