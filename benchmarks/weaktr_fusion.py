"""Peak memory and time of WeakTr's fused attention, beside the way that keeps, stacks and weighs every attention map.

    python benchmarks/weaktr_fusion.py --json benchmarks/results/weaktr_fusion_cpu.json

Both ways share encoder, weights and inputs and give the same CAM (checked in every run). Each is measured in a process
of its own: on a CPU the peak is the process's largest resident memory above that before the first pass. Two cases:
forward and backward of a training batch, and the CAM of one image without gradient.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from machine import append_json, machine
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from part_timer import peak_memory
from torch import Tensor

from mmseg_wsss.models import WeakTr
from mmseg_wsss.models.cam import attention_map

CLASSES = 20


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', default='deit-small')
    parser.add_argument('--batch-size', type=int, default=64, help='of the training case, at 224 x 224 (default: 64)')
    parser.add_argument('--cam-size', type=int, default=480, help='side of the image of the CAM case (default: 480)')
    parser.add_argument('--iters', type=int, default=2, help='measured passes after one of warm-up (default: 2)')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', type=Path, metavar='OUT', help='append the raw numbers to the list in this file')
    return parser.parse_args(argv)


def build(arch: str) -> WeakTr:
    """A WeakTr with random weights, whose class tokens differ as trained ones do."""
    MMLogger.get_instance('weaktr_fusion', log_level='ERROR')
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


def fused_way(model: WeakTr, images: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse and fine CAM as the library computes them."""
    return model.cam_head(model.backbone.tokens(images, watch=model.cam_head.watch))


def naive_way(model: WeakTr, images: Tensor) -> tuple[Tensor, Tensor]:
    """The same with explicit attention maps: kept by every block, stacked, copied, weighted, averaged."""
    vit, head = model.backbone, model.cam_head
    x, grid = vit._embed(images)
    maps, outputs = [], []
    for layer in vit.layers:
        attn = layer.attn
        qkv = attn.qkv(layer.ln1(x)).unflatten(-1, (3, attn.num_heads, attn.head_dims))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = attention_map(query, key)
        output = attn.proj((weights @ value).transpose(1, 2).flatten(2))
        x = layer.ffn(layer.ln2(x + output), identity=x + output)
        maps.append(weights)
        outputs.append(output)
    coarse = head.classifier(vit._format_output(x, grid))
    stacked = torch.stack(maps).clone().detach().permute(1, 2, 0, 3, 4).flatten(1, 2)  # (B, H * K, n, n)
    features = torch.stack(outputs).clone().detach().unflatten(-1, (attn.head_dims, attn.num_heads))
    pooled = features.amax(dim=2).permute(1, 0, 3, 2)  # (B, K, H, head_dims)
    head_weights = head.head_weights(list(pooled.unbind(1))).mT.flatten(1)  # (B, H * K)
    fused = (stacked * head_weights[..., None, None]).mean(dim=1)
    count = vit.num_extra_tokens
    cam = coarse.detach().relu().flatten(2) * fused[:, :count, count:]
    fine = (fused[:, count:, count:] @ cam.mT).mT
    return coarse, fine.unflatten(-1, grid)


WAYS = {'naive': naive_way, 'fused': fused_way}


def measure(way: str, *, arch: str, shape: tuple[int, ...], train: bool, iters: int, amp: bool, device: str) -> dict:
    """Run one way ``iters + 1`` times; seconds of all passes but the first, peak memory in bytes, sum of the CAM."""
    place = torch.device(device)
    model = build(arch).to(place).train(train)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(place)
    label = (torch.arange(CLASSES, device=place) % 7 == 0).float().expand(shape[0], -1)
    before, seconds = peak_memory(place), []
    for _ in range(iters + 1):
        start = time.perf_counter()
        with torch.set_grad_enabled(train), torch.autocast(place.type, torch.bfloat16, enabled=amp):
            coarse, fine = WAYS[way](model, images)
            if train:
                loss = sum(model.cam_head.loss_cls(cam.mean((-2, -1)), label) for cam in (coarse, fine))
        if train:
            model.zero_grad(set_to_none=True)
            loss.backward()
        checksum = float(fine.detach().float().sum())  # waits for the device
        seconds.append(time.perf_counter() - start)
    return dict(seconds=seconds[1:], peak=peak_memory(place) - before, checksum=checksum)


def compare(case: dict) -> dict:
    """Both ways of one case, each in a fresh process; their CAMs must agree."""
    results = {}
    for way in WAYS:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
            results[way] = pool.submit(measure, way, **case).result()
    sums = [results[way]['checksum'] for way in WAYS]
    np.testing.assert_allclose(*sums, rtol=0.05 if case['amp'] else 1e-3)
    return results


def to_table(record: dict) -> str:
    """Markdown: a line per case and way, and the ratios."""
    lines = ['| case | way | peak MiB | seconds | memory | speed |', '|---|---|--:|--:|--:|--:|']
    for case, results in record['cases'].items():
        naive = results['naive']
        for way, result in results.items():
            seconds, share = np.median(result['seconds']), result['peak'] / naive['peak']
            speed = np.median(naive['seconds']) / seconds
            numbers = f'{result["peak"] / 2**20:.0f} | {seconds:.2f} | {share:.0%} | {speed:.2f}x'
            lines.append(f'| {case} | {way} | {numbers} |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    common = dict(arch=args.arch, iters=args.iters, amp=args.amp, device=args.device)
    train = dict(common, shape=(args.batch_size, 3, 224, 224), train=True)
    cam = dict(common, shape=(1, 3, args.cam_size, args.cam_size), train=False)
    record = dict(
        machine(torch.device(args.device)),
        arch=args.arch,
        dtype='bfloat16 autocast' if args.amp else 'float32',
        cases={
            f'training, {args.batch_size} x 224 x 224': compare(train),
            f'CAM, 1 x {args.cam_size} x {args.cam_size}': compare(cam),
        },
    )
    print(to_table(record))
    if args.json:
        append_json(record, args.json)


if __name__ == '__main__':
    main()
