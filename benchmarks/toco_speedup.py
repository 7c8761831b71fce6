"""ToCo's training step compared with its reference implementation (``reference_toco.py``) and its arithmetic alone.

    python benchmarks/toco_speedup.py --batch-size 4 --iters 3 --json benchmarks/results/OUT.json

Both ways have the same weights, batch and optimizer and take turns, one iteration each, so that what else the machine
does meets both. An iteration is ``train_step`` without data loading. Losses are compared in every run. The dense energy
is the same function in both.

- memory: what the tensors made in a step need at most, counted (``allocation_counter.py``), which is the same on every
  machine; on a GPU also the allocator's own peak. Weights and optimizer state are left out: both ways have them.
- floor: the floating-point operations of our step's matrix products, convolutions and attention, forward and backward,
  at the rate that one large matrix product reaches here in the same precision.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from allocation_counter import AllocationCounter
from attention_flops import flop_counter
from machine import new_parser
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from reference_toco import ReferenceToCo
from toco_step import add_arguments, build_training, describe, run, use_drawn_images_if_absent
from torch import nn

from mmseg_wsss.models import ToCo

WAYS = {'reference': ReferenceToCo.__name__, 'ours': ToCo.__name__}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return add_arguments(new_parser(__doc__, device=True), argv)


class Way:
    """One way of training: its model, optimizer and what was measured.

    Args:
        cfg: config of the training.
        name: key of :data:`WAYS`.
        weights: of the model; random where ``None``.
        device: where it runs.
    """

    def __init__(self, cfg: Config, name: str, weights: dict | None, device: torch.device) -> None:
        self.model, self.optim = build_training(cfg, device, kind=WAYS[name], weights=weights)
        self.device = device
        self.seconds, self.cpu_seconds, self.losses = [], [], []

    def step(self, batch: dict) -> None:
        """One iteration; every call makes the same draws as the same call of another way."""
        set_random_seed(len(self.losses))
        logs = self.model.train_step(batch, self.optim)
        self.losses.append({name: float(value) for name, value in logs.items() if 'loss' in name})

    def timed_step(self, batch: dict) -> None:
        """One iteration by the clock."""
        self._wait()
        wall, busy = time.perf_counter(), time.process_time()
        self.step(batch)
        self._wait()
        self.seconds.append(time.perf_counter() - wall)
        self.cpu_seconds.append(time.process_time() - busy)

    def memory(self, batch: dict) -> dict[str, int]:
        """Bytes: peak of what a step's tensors need, the largest of them, and the allocator's peak on a GPU."""
        found = {}
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self.step(batch)
            found['allocator'] = torch.cuda.max_memory_allocated(self.device) - before
        with AllocationCounter() as counter:
            self.step(batch)
        return dict(found, peak=counter.peak, largest=counter.largest)

    def flops(self, batch: dict) -> int:
        """Floating-point operations of one step's matrix products, convolutions and attention."""
        with flop_counter() as counter:
            self.step(batch)
        return counter.get_total_flops()

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def matrix_rate(way: Way, tokens: int) -> float:
    """Operations per second of the largest product of a block, tokens x D by D x 4 D, in the training's precision."""
    width = way.model.backbone.embed_dims
    layer = nn.Linear(width, 4 * width, bias=False).to(way.device)
    x = torch.randn(tokens, width, device=way.device)
    with way.optim.optim_context(way.model), torch.no_grad():
        x = x.to(layer(x[:8]).dtype)  # not the cast, only the product
        seconds = min(_seconds(lambda: layer(x), way) for _ in range(10))
    return 2 * tokens * width * 4 * width / seconds


def _seconds(job: Callable[[], object], way: Way) -> float:
    way._wait()
    start = time.perf_counter()
    job()
    way._wait()
    return time.perf_counter() - start


def measure(cfg: Config, *, device: str, iters: int, warmup: int) -> dict:
    """Run both ways in turns; see the module."""
    place = torch.device(device)
    init_default_scope('mmseg')
    set_random_seed(0)
    record = dict(describe(cfg, place), warmup=warmup)
    with tempfile.TemporaryDirectory() as folder:
        record['data'] = use_drawn_images_if_absent(cfg, Path(folder) / 'drawn')
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    ours = Way(cfg, 'ours', None, place)
    ways = dict(reference=Way(cfg, 'reference', ours.model.state_dict(), place), ours=ours)
    for count in range(warmup + iters):
        for way in ways.values():
            way.step(batch) if count < warmup else way.timed_step(batch)
    record['first_losses'] = {name: way.losses[0] for name, way in ways.items()}
    record['seconds'] = {name: way.seconds for name, way in ways.items()}
    record['cpu_seconds'] = {name: way.cpu_seconds for name, way in ways.items()}
    record['memory'] = {name: way.memory(batch) for name, way in ways.items()}
    record['flops'] = {name: way.flops(batch) for name, way in ways.items()}
    grid = record['crop'][0] // ours.model.backbone.patch_size
    record['matrix_rate'] = matrix_rate(ours, cfg.train_dataloader.batch_size * grid * grid)
    return record


def to_table(record: dict) -> str:
    """Markdown table of medians."""
    memory, flops = record['memory'], record['flops']
    median = {name: np.median(values) for name, values in record['seconds'].items()}
    busy = {name: np.median(values) for name, values in record['cpu_seconds'].items()}
    floor = {name: flops[name] / record['matrix_rate'] for name in WAYS}
    lines = [f'{key}: {record[key]}' for key in ('date', 'config', 'device', 'threads', 'batch_size', 'crop', 'dtype')]
    lines.append(f'medians of {len(record["seconds"]["ours"])} iterations each, in turns\n')
    lines += ['| | reference | ours | ratio |', '|---|--:|--:|--:|']

    def row(name: str, reference: float, ours: float, unit: str = '') -> str:
        return f'| {name} | {reference:,.2f}{unit} | {ours:,.2f}{unit} | {reference / ours:.2f} |'

    lines.append(row('seconds per iteration', median['reference'], median['ours']))
    lines.append(row('CPU seconds per iteration', busy['reference'], busy['ours']))
    lines.append(row('10^12 operations', flops['reference'] / 1e12, flops['ours'] / 1e12))
    lines.append(row('floor: seconds of its operations', floor['reference'], floor['ours']))
    lines.append(row('seconds / floor of ours', median['reference'] / floor['ours'], median['ours'] / floor['ours']))
    lines += [
        row(f'memory, {kind}, MiB', memory['reference'][kind] / 2**20, memory['ours'][kind] / 2**20)
        for kind in memory['ours']
    ]
    first = [record['first_losses'][name] for name in WAYS]
    worst = max(abs(first[0][name] - first[1][name]) for name in first[0])
    lines.append(f'\nlargest difference of a loss in the first iteration: {worst:.1e}')
    lines.append(f'rate of one matrix product: {record["matrix_rate"] / 1e12:.3f} * 10^12 operations per second')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    run(parse_args(argv), measure, to_table)


if __name__ == '__main__':
    main()
