"""What leaving out negligible classes saves in ``DenseCRF``, and whether it changes a pixel.

    python benchmarks/crf_classes.py --config CONFIG --checkpoint FILE --json benchmarks/results/OUT.json

First the CPU seconds of one image by the number of classes that take part: those of the network, or as many more with
small random scores. Then, on the predictions of the network, for each value of ``negligible``: the classes that are
left, the CPU seconds, and the pixels of all images whose label is another than with all classes. ``--sharpen``
multiplies the logits: a network of few classes that was trained briefly is less sure than a published one.
"""

import argparse
import statistics
import time

import torch
from dense_crf import Sample, drawn, parse_with_network, predictions
from machine import machine, new_parser, report
from mmseg.registry import MODELS
from torch import Tensor

COUNTS = (2, 3, 7, 21, 81)
LIMITS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add('--images', type=int, default=25, help='default: 25')
    add('--sharpen', type=float, nargs='+', default=[1, 3, 6], help='factors of the logits (default: 1 3 6)')
    return parse_with_network(parser, argv)


def refine(image: Tensor, scores: Tensor, **values) -> tuple[Tensor, float, int]:
    """The labels (H, W), the CPU seconds, and how many classes took part."""
    crf = MODELS.build(dict(type='DenseCRF', **values))
    start = time.process_time()
    label = crf(image, scores)[0].argmax(dim=0)
    return label, time.process_time() - start, int(crf.present(scores[0]).sum())


def by_count(samples: list[Sample], preset: str) -> dict[str, float]:
    """Median of the images' CPU seconds by the number of classes."""
    found: dict[str, list[float]] = {str(count): [] for count in COUNTS}
    for image, scores in ((sample.image, sample.scores) for sample in samples):
        for count, seconds in found.items():
            more = 0.01 * torch.rand(1, max(0, int(count) - scores.shape[1]), *scores.shape[-2:])
            some = torch.cat((scores, more), dim=1)[:, : int(count)]
            seconds.append(refine(image, some, preset=preset, negligible=0.0)[1])
    return {count: statistics.median(seconds) for count, seconds in found.items()}


def by_limit(samples: list[Sample], preset: str, sharpen: float) -> list[dict]:
    """A record per value of ``negligible``: means of classes and CPU seconds, changed pixels of all images."""
    found = [dict(sharpen=sharpen, limit=limit, classes=0.0, cpu_seconds=0.0, changed=0) for limit in LIMITS]
    for sample in samples:
        scores = (sharpen * sample.scores.log()).softmax(dim=1)
        first = None
        for one in found:
            label, seconds, classes = refine(sample.image, scores, preset=preset, negligible=one['limit'])
            first = label if first is None else first
            one['classes'] += classes / len(samples)
            one['cpu_seconds'] += seconds / len(samples)
            one['changed'] += int((label != first).sum())
    return found


def to_table(record: dict) -> str:
    """Markdown: a line per number of classes, then one per sharpening and limit."""
    lines = ['| classes | CPU s per image |', '|--:|--:|']
    lines += [f'| {count} | {found:.2f} |' for count, found in record['by_count'].items()]
    head = '| logits | `negligible` | classes left | CPU s per image | pixels that change |'
    lines += ['', head, '|--:' * 5 + '|']
    for one in record['by_limit']:
        means = f'{one["classes"]:.1f} | {one["cpu_seconds"]:.2f}'
        lines.append(f'| x{one["sharpen"]:g} | {one["limit"]:g} | {means} | {one["changed"]} |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    torch.manual_seed(0)
    samples = list(predictions(args.config, args.checkpoint, args.images) if args.config else drawn(args.images))
    pixels = sum(sample.ground_truth.numel() for sample in samples)
    record = dict(machine(torch.device('cpu')), source=args.config or 'drawn', preset=args.preset, pixels=pixels)
    record['by_count'] = by_count(samples[:5], args.preset)
    record['by_limit'] = [one for sharpen in args.sharpen for one in by_limit(samples, args.preset, sharpen)]
    report(f'{len(samples)} images, {pixels} pixels, preset {args.preset}\n\n{to_table(record)}', record, args.json)


if __name__ == '__main__':
    main()
