"""Error, time and memory of the ways to sum over all pairs of pixels that the dense energy loss can use.

    python benchmarks/dense_energy.py --json benchmarks/results/OUT.json

Photos and masks of PASCAL VOC where available (else drawn ones), as the loss sees them: 448-pixel crops at half size,
21 classes. Two kinds of probabilities: "masks", blurred ground-truth masks with some noise, similar to a network's, and
"noise", which is unrelated to the image. The reference is the exact sum in float64 at 1,000 random pixels of every
image; all pixel weights are 1. "value" is the error of the energy, "gradient" the norm of the gradient's error divided
by the norm of the gradient, "direction" the same up to the best factor; each is the worst of all images. pydensecrf's
permutohedral lattice, the kind of filter that published code uses, is compared where it is installed.
"""

import argparse
import ctypes
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine, new_parser, report
from PIL import Image
from torch import Tensor

from mmseg_wsss.datasets.open_image import open_image
from mmseg_wsss.models.bilateral_sum import bilateral_features, exact_bilateral_sum, grouped_bilateral_sum
from mmseg_wsss.models.losses import DenseEnergyLoss

VOC = Path(__file__).resolve().parents[1] / 'data/VOCdevkit/VOC2012'
CLASSES, CROP, PROBES = 21, 448, 1000
SIGMAS = dict(sigma_rgb=15.0, sigma_xy=50.0)
ERRORS = ('value', 'gradient', 'direction')
KEYS = ('seconds', 'cpu_seconds', 'bytes')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, device=True)
    parser.add_argument('--images', type=int, default=4, help='batch size of the whole loss too (default: 4)')
    parser.add_argument('--exact-images', type=int, default=1, help='on a CPU, the exact sums: 4 s each (default: 1)')
    return parser.parse_args(argv)


def scenes(count: int) -> tuple[str, Tensor, dict[str, Tensor]]:
    """Source; crops (count, 3, 448, 448) in [0, 1]; per kind logits (count, 21, 28, 28)."""
    noise = torch.randn(count, CLASSES, CROP // 16, CROP // 16)
    masks = sorted((VOC / 'SegmentationClassAug').glob('*.png'))
    if len(masks) < count:
        drawn = F.interpolate(torch.rand(count, 3, 6, 8), size=(CROP, CROP), mode='bicubic')
        images = (drawn + 0.05 * torch.randn(count, 1, CROP, CROP)).clamp(0, 1)
        return 'drawn images', images, dict(noise=2 * noise)
    images, shares = [], []
    for path in masks[:: len(masks) // count][:count]:
        photo = np.array(_crop(VOC / 'JPEGImages' / f'{path.stem}.jpg', Image.BICUBIC).convert('RGB'))
        images.append(torch.from_numpy(photo).permute(2, 0, 1) / 255)
        mask = torch.from_numpy(np.array(_crop(path, Image.NEAREST))).long()
        one_hot = F.one_hot(torch.where(mask < CLASSES, mask, 0), CLASSES).permute(2, 0, 1).float()
        shares.append(F.avg_pool2d(one_hot, 16))
    return 'PASCAL VOC', torch.stack(images), dict(masks=6 * torch.stack(shares) + 0.5 * noise, noise=2 * noise)


def _crop(path: Path, how: int) -> Image.Image:
    """The middle, the shorter side 448."""
    with open_image(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.resize((CROP, CROP), how, box=(left, top, left + side, top + side))


def permutohedral_sum(features: Tensor, values: Tensor, *, image: Tensor) -> Tensor:
    """The sum as pydensecrf approximates it, read off one mean-field step: each class gains weight * its sum.

    A last class that is almost absent gains nothing and shows what the step divided by.
    """
    from pydensecrf.densecrf import DIAG_KERNEL, NO_NORMALIZATION, DenseCRF2D

    weight, absent = 1e-3, 30.0
    _, height, width = image.shape
    crf = DenseCRF2D(width, height, CLASSES + 1)
    unary = F.pad(-values[0].clamp(min=1e-10).log(), (0, 1), value=absent).T.contiguous().numpy()
    crf.setUnaryEnergy(unary)
    pixels = np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy())
    crf.addPairwiseBilateral(
        sxy=SIGMAS['sigma_xy'],
        srgb=SIGMAS['sigma_rgb'],
        rgbim=pixels,
        compat=weight,
        kernel=DIAG_KERNEL,
        normalization=NO_NORMALIZATION,
    )
    state, *buffers = crf.startInference()
    crf.stepInference(state, *buffers)
    gain = np.log(np.array(state, dtype=np.float64)) + unary
    return torch.from_numpy((gain[:-1] - gain[-1:]).T / weight)[None]


def methods(device: torch.device) -> dict:
    """Name -> function of features, values."""
    ways = {f'{count:,} groups': partial(grouped_bilateral_sum, max_groups=count) for count in (1024, 2048, 4096)}
    ways['exact, float32'] = partial(exact_bilateral_sum, half=False)
    ways['exact, float16 tensor cores'] = partial(exact_bilateral_sum, half=True)
    if device.type == 'cpu':  # float16 is emulated there
        ways.popitem()
    try:
        import pydensecrf.densecrf  # noqa: F401

        ways['permutohedral lattice (pydensecrf, CPU)'] = permutohedral_sum
    except ImportError:
        pass
    return ways


def cost(job, device: torch.device) -> tuple[dict, Tensor]:
    """Wall seconds, CPU seconds and additional peak memory of ``job()``, and what it returns."""
    if device.type == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        ctypes.CDLL(None).malloc_trim(0)  # memory that glibc kept would hide what is needed
        Path('/proc/self/clear_refs').write_text('5')  # the kernel's high-water mark starts anew
        before = _resident('VmRSS')
    wall, busy = time.perf_counter(), time.process_time()
    result = job()
    if device.type == 'cuda':
        torch.cuda.synchronize()
    spent = time.perf_counter() - wall, time.process_time() - busy
    peak = torch.cuda.max_memory_allocated() if device.type == 'cuda' else _resident('VmHWM')
    return dict(zip(KEYS, (*spent, peak - before), strict=True)), result


def _resident(name: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def measure_sums(images: Tensor, logits: dict[str, Tensor], exact_images: int, device: torch.device) -> list[dict]:
    """A record per method, image and kind of probabilities."""
    small = F.interpolate(images, scale_factor=0.5)
    features = bilateral_features(small, **SIGMAS)
    records = []
    for kind, scores in logits.items():
        values = F.interpolate(scores, size=small.shape[-2:], mode='bilinear').softmax(dim=1).flatten(2).mT.contiguous()
        for index, (feature, value) in enumerate(zip(features, values, strict=True)):
            probes = torch.randperm(len(feature))[:PROBES]
            distance = torch.cdist(feature[probes].double(), feature.double())
            exact = distance.square_().div_(-2).exp_() @ value.double()
            for name, way in methods(device).items():
                if device.type == 'cpu' and name.startswith('exact') and index >= exact_images:
                    continue
                extra = dict(image=small[index]) if way is permutohedral_sum else {}
                place = torch.device('cpu') if extra else device
                inputs = feature[None].to(place), value[None].to(place)
                if not records or device.type == 'cuda':
                    way(*inputs, **extra)  # warm up
                spent, found = cost(partial(way, *inputs, **extra), place)
                found = found[0].cpu()[probes].double()
                energy = (value[probes] * exact).sum()
                best = found * ((found * exact).sum() / found.square().sum())
                records.append(
                    dict(
                        spent,
                        method=name,
                        kind=kind,
                        value=float(((value[probes] * found).sum() - energy) / energy),
                        gradient=float((found - exact).norm() / exact.norm()),
                        direction=float((best - exact).norm() / exact.norm()),
                    )
                )
    return records


def measure_loss(images: Tensor, logits: Tensor, device: torch.device) -> dict:
    """Forward and backward of the whole loss as a training calls it."""
    loss, images = DenseEnergyLoss().to(device), images.to(device)
    logits = logits.to(device).detach().requires_grad_()
    label = torch.full((len(images), CROP, CROP), 255, device=device)
    job = lambda: loss(images, logits, label, label > 0).backward()  # noqa: E731
    job()
    return cost(job, device)[0]


def to_table(record: dict) -> str:
    """Markdown: a line per method."""
    kinds = list(dict.fromkeys(one['kind'] for one in record['sums']))
    head = [f'{kind}: {what}' for kind in kinds for what in ERRORS]
    lines = ['| one image | ' + ' | '.join([*head, 'wall s', 'CPU s', 'peak MiB']) + ' |']
    lines.append('|---' + '|--:' * (len(head) + 3) + '|')
    for name in dict.fromkeys(one['method'] for one in record['sums']):
        mine = [one for one in record['sums'] if one['method'] == name]
        errors = [
            f'{max((one[what] for one in mine if one["kind"] == kind), key=abs):.2%}'
            for kind in kinds
            for what in ERRORS
        ]
        lines.append(f'| {name} | ' + ' | '.join([*errors, *_costs(mine)]) + ' |')
    blank = ' | '.join([''] * len(head))
    lines.append(
        f'| **whole loss, {record["images"]} images** | {blank} | ' + ' | '.join(_costs([record['loss']])) + ' |'
    )
    return '\n'.join(lines)


def _costs(records: list[dict]) -> list[str]:
    wall, busy, peak = (float(np.median([one[key] for one in records])) for key in KEYS)
    return [f'{wall:.3f}', f'{busy:.3f}', f'{peak / 2**20:.0f}']


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    torch.manual_seed(0)
    device = torch.device(args.device)
    source, images, logits = scenes(args.images)
    record = dict(
        machine(device),
        source=source,
        images=args.images,
        loss=measure_loss(images, next(iter(logits.values())), device),
        sums=measure_sums(images, logits, args.exact_images, device),
    )
    report(to_table(record), record, args.json)


if __name__ == '__main__':
    main()
