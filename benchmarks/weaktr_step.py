"""WeakTr's first stage and its reference implementation, ``reference_weaktr.py``: images per second and peak memory.

    python benchmarks/weaktr_step.py --json benchmarks/results/OUT.json

Two cases: training steps (forward, backward, AdamW) of a batch of 224 x 224, and the CAMs of one photograph as
``tools/make_pseudo_labels.py`` makes them (two scales and their mirror images, normalised, of the tagged classes).
All ways have the same weights and inputs and must give the same results, which is checked in every run. They take
turns, each time in a new process, so that what else the machine does meets all of them.

The memory of a process is its largest resident memory above that before the first pass, on a GPU the allocator's peak.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch
from machine import machine, new_parser, report
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from part_timer import peak_memory
from reference_weaktr import reference_cams, reference_loss
from torch import Tensor

from mmseg_wsss.models import WeakTr

CLASSES = 20
WAYS = REFERENCE, OURS = 'reference', 'ours'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, device=True)
    parser.add_argument('--arch', default='deit-small')
    parser.add_argument('--batch-size', type=int, default=64, help='of the training case (default: 64)')
    parser.add_argument(
        '--cam-size', type=int, nargs=2, default=(375, 500), metavar=('H', 'W'), help='image of the CAM case'
    )
    parser.add_argument('--iters', type=int, default=2, help='measured passes per process, after one (default: 2)')
    parser.add_argument('--rounds', type=int, default=2, help='processes per way (default: 2)')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    return parser.parse_args(argv)


def build(arch: str) -> WeakTr:
    """A WeakTr with random weights, whose class tokens differ as trained ones do."""
    MMLogger.get_instance('weaktr_step', log_level='ERROR')
    init_default_scope('mmseg')
    torch.manual_seed(0)
    backbone = dict(type='TokenViT', arch=arch, num_cls_tokens=CLASSES, final_norm=False)
    vit = MODELS.build(backbone)
    heads = vit.layers[0].attn.num_heads
    weights = dict(
        type='OutputPooledWeights',
        num_blocks=vit.num_layers,
        num_heads=heads,
        head_dims=vit.embed_dims // heads,
    )
    head = dict(type='AAFCAMHead', num_classes=CLASSES, in_channels=vit.embed_dims, head_weights=weights)
    model = MODELS.build(dict(type='WeakTr', backbone=backbone, cam_head=head))
    model.backbone.init_weights()
    torch.nn.init.normal_(model.backbone.cls_token)
    return model


def our_loss(model: WeakTr, images: Tensor, label: Tensor) -> Tensor:
    """Sum of the three losses as the library computes them."""
    tokens = model.backbone.tokens(images, record=model.cam_head.record)
    return sum(model.cam_head.loss(tokens, label).values())


def our_cams(model: WeakTr, image: Tensor, tags: Tensor) -> Tensor:
    """The CAMs as the library makes them."""
    return model.cams(image)['cam'][0] * tags[:, None, None]


def training_step(model: WeakTr, loss: Callable, images: Tensor) -> Callable[[], Tensor]:
    """A function that makes one training step and returns its loss."""
    fused = loss is our_loss  # as our schedules have it
    optimizer = torch.optim.AdamW(model.parameters(), lr=7.5e-5, weight_decay=0.03, fused=fused)
    label = (torch.arange(CLASSES, device=images.device) % 7 == 0).float().expand(len(images), -1)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss(model, images, label)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def measure(way: str, *, arch: str, shape: tuple[int, ...], train: bool, iters: int, amp: bool, device: str) -> dict:
    """Run one way ``iters + 1`` times.

    Returns:
        seconds and CPU seconds of all passes but the first; peak memory in bytes; losses, or means of the CAMs.
    """
    place = torch.device(device)
    model = build(arch).to(place).train(train)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(place)
    if train:
        job = training_step(model, our_loss if way == OURS else reference_loss, images)
    else:
        tags = (torch.arange(CLASSES, device=place) % 7 == 0).float()

        def job() -> Tensor:
            return (our_cams if way == OURS else reference_cams)(model, images, tags).mean((-2, -1))

    before, seconds, cpu_seconds, results = peak_memory(place), [], [], []
    for _ in range(iters + 1):
        start, busy = time.perf_counter(), time.process_time()
        with torch.autocast(place.type, torch.bfloat16, enabled=amp):
            result = job()
        results.append(result.tolist())  # waits for the device
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - busy)
    peak = peak_memory(place) - before
    return dict(seconds=seconds[1:], cpu_seconds=cpu_seconds[1:], peak=peak, results=results)


def compare(rounds: int, **case) -> dict:
    """All ways of one case in turns, every time in a fresh process; their results must agree."""
    runs = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
                runs[way].append(pool.submit(measure, way, **case).result())
    for way in WAYS:
        # the reference implementation sums over heads in bfloat16 too, and normalising a CAM stretches its errors
        tolerance = dict(rtol=0.2 if case['amp'] else 1e-3, atol=1e-6)
        np.testing.assert_allclose(runs[way][0]['results'], runs[REFERENCE][0]['results'], **tolerance)
    for run in (one for passes in runs.values() for one in passes):
        del run['results']
    return dict(images=case['shape'][0], runs=runs)


def to_table(record: dict) -> str:
    """Markdown: a line per case and way with medians of all passes, and the ratios to the reference implementation."""
    lines = [f'{key}: {record[key]}' for key in ('date', 'device', 'threads', 'load_average', 'arch', 'dtype')]
    lines += ['', '| case | way | images/s | CPU s per image | peak MiB | memory | images/s, ratio | CPU s, ratio |']
    lines += ['|---|---|--:|--:|--:|--:|--:|--:|']
    for name, case in record['cases'].items():
        cost = {way: _cost(runs) for way, runs in case['runs'].items()}
        reference = cost[REFERENCE]
        for way, (seconds, busy, peak) in cost.items():
            per_image = f'{case["images"] / seconds:.2f} | {busy / case["images"]:.3f}'
            ratios = f'{peak / reference[2]:.0%} | {reference[0] / seconds:.2f}x | {reference[1] / busy:.2f}x'
            lines.append(f'| {name} | {way} | {per_image} | {peak / 2**20:,.0f} | {ratios} |')
    return '\n'.join(lines)


def _cost(runs: list[dict]) -> tuple[float, float, float]:
    """Medians of seconds and CPU seconds over all passes of all processes, and of the processes' peaks."""
    seconds, busy = (np.median([value for run in runs for value in run[key]]) for key in ('seconds', 'cpu_seconds'))
    return seconds, busy, np.median([run['peak'] for run in runs])


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    common = dict(arch=args.arch, iters=args.iters, amp=args.amp, device=args.device)
    height, width = args.cam_size
    record = dict(
        machine(torch.device(args.device)),
        arch=args.arch,
        dtype='bfloat16 autocast' if args.amp else 'float32',
        cases={
            f'training, {args.batch_size} x 224 x 224': compare(
                args.rounds, **common, shape=(args.batch_size, 3, 224, 224), train=True
            ),
            f'CAM of a photo, {height} x {width}': compare(
                args.rounds, **common, shape=(1, 3, height, width), train=False
            ),
        },
    )
    report(to_table(record), record, args.json)


if __name__ == '__main__':
    main()
