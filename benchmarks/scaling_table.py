"""Time per step of ToCo on 1 to 64 GPUs, estimated from counted operations and assumed rates.

    python benchmarks/scaling_table.py benchmarks/results/step_flops.json --peak 989 --fraction 0.35

Not a measurement. Assumed are the rate of a GPU (a fraction of its peak, the same for every part of the step) and that
of the links. Gradients are float32 and averaged in a ring, which sends and receives twice their size; that is hidden
behind backward as far as it is shorter.
"""

import argparse
import json
from pathlib import Path

GPUS = (1, 4, 8, 16, 64)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('json', type=Path, help='what step_flops.py wrote; its last entry counts')
    parser.add_argument('--images', type=int, default=1, help='per GPU (default: 1)')
    parser.add_argument('--peak', type=float, default=989, help='TFLOP/s of a GPU, bfloat16 (default: 989, H100/H200)')
    parser.add_argument('--fraction', type=float, default=0.35, help='of the peak that a step reaches (default: 0.35)')
    parser.add_argument('--inside', type=float, default=300, help='GB/s of a GPU in its machine (default: 300)')
    parser.add_argument('--between', type=float, default=25, help='GB/s of a GPU between machines (default: 25)')
    parser.add_argument('--per-machine', type=int, default=8, help='GPUs of a machine (default: 8)')
    return parser.parse_args(argv)


def step_seconds(record: dict, gpus: int, args: argparse.Namespace) -> float:
    """Seconds of one step with ``args.images`` images on each of the GPUs."""
    rate = args.peak * 1e12 * args.fraction
    compute = args.images * sum(record['operations'].values()) / rate
    backward = args.images * record['operations']['backward'] / rate
    link = args.inside if gpus <= args.per_machine else args.between
    exchange = 2 * (gpus - 1) / gpus * 4 * record['trained'] / (link * 1e9)
    return compute + max(0.0, exchange - backward)


def to_table(records: list[dict], args: argparse.Namespace) -> str:
    """Markdown: milliseconds per step and, in brackets, images per second of all GPUs together."""
    lines = ['| encoder, crop | ' + ' | '.join(f'{gpus} GPU{"s" * (gpus > 1)}' for gpus in GPUS) + ' |']
    lines.append('|---' + '|--:' * len(GPUS) + '|')
    for record in records:
        seconds = [step_seconds(record, gpus, args) for gpus in GPUS]
        cells = [f'{1e3 * s:.1f} ({gpus * args.images / s:,.0f})' for gpus, s in zip(GPUS, seconds, strict=True)]
        lines.append(f'| {record["arch"]}, {record["size"]} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    args = parse_args(argv)
    print(to_table(json.loads(args.json.read_text())[-1]['counted'], args))


if __name__ == '__main__':
    main()
