"""What exporting a network costs and brings: bytes, speed and agreement of ONNX, int8 and bfloat16 with the network.

    python benchmarks/deployment.py CONFIG CHECKPOINT [CONFIG CHECKPOINT ...] --json benchmarks/results/OUT.json

Every form sees the same photographs of the test set, whose longer side is ``--side``, one after the other in turns, on
one thread; the median of the CPU seconds counts. int8 is onnxruntime's dynamic quantisation of the weights.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from machine import machine, new_parser, report
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from onnxruntime.quantization import quantize_dynamic
from PIL import Image
from torch import Tensor, nn

import mmseg_wsss  # noqa: F401  registers the parts
from mmseg_wsss.apis.deployable import Deployable, export, write_onnx
from mmseg_wsss.apis.run_folder import evenly
from mmseg_wsss.datasets.transforms.load_image import read_image
from mmseg_wsss.engine import read_config
from mmseg_wsss.pseudo_labels import load_model

Form = Callable[[Tensor], np.ndarray]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__)
    parser.add_argument('networks', nargs='+', metavar='CONFIG CHECKPOINT', help='trained networks with a decoder')
    parser.add_argument('--images', type=int, default=20, help='photographs (default: 20)')
    parser.add_argument('--side', type=int, default=384, help='their longer side in pixels (default: 384)')
    args = parser.parse_args(argv)
    if len(args.networks) % 2:
        parser.error('every CONFIG needs a CHECKPOINT')
    return args


def photographs(dataset: dict, count: int, side: int, patch: int) -> list[Tensor]:
    """Images (1, 3, H, W) of the test set, spread evenly, RGB, resized to whole patches."""
    images = DATASETS.build(dataset)
    found = []
    for index in evenly(len(images), count):
        photo = Image.fromarray(read_image(images.get_data_info(index)['img_path'])[..., ::-1])  # BGR to RGB
        size = [round(side * length / max(photo.size) / patch) * patch for length in photo.size]
        found.append(torch.from_numpy(np.array(photo.resize(size), np.float32)).permute(2, 0, 1)[None])
    return found


def forms(network: nn.Module, folder: Path) -> dict[str, tuple[Form, int]]:
    """Name -> the network in this form, and its bytes."""
    deployable = Deployable(network).eval()
    path, small = folder / 'network.onnx', folder / 'network_int8.onnx'
    write_onnx(export(network), path, classes=(), palette=(), patch_size=deployable.patch_size)
    quantize_dynamic(path, small)
    weights = sum(one.numel() * one.element_size() for one in deployable.state_dict().values())

    def eager(image: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return deployable(image).numpy()

    def bfloat16(image: Tensor) -> np.ndarray:
        with torch.inference_mode(), torch.autocast('cpu', dtype=torch.bfloat16):
            return deployable(image).float().numpy()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(one, options, providers=['CPUExecutionProvider']) for one in (path, small)]
    onnx, int8 = ((lambda image, one=one: one.run(None, {'image': image.numpy()})[0]) for one in sessions)
    return {
        'PyTorch, float32': (eager, weights),
        'PyTorch, bfloat16 autocast': (bfloat16, weights),
        'onnxruntime, float32': (onnx, os.path.getsize(path)),
        'onnxruntime, int8 weights': (int8, os.path.getsize(small)),
    }


def measure(config: str, checkpoint: str, args: argparse.Namespace) -> dict[str, dict]:
    """Name of a form -> its numbers."""
    cfg = read_config(config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    network = load_model(MODELS.build(cfg.model), cfg, checkpoint, source='seg').cpu()
    images = photographs(cfg.test_dataloader.dataset, args.images, args.side, network.backbone.patch_size)
    with tempfile.TemporaryDirectory() as folder:
        found = forms(network, Path(folder))
        seconds = {name: [] for name in found}
        differ, same = dict.fromkeys(found, 0.0), {name: [] for name in found}
        for index, image in enumerate([images[0], *images]):  # the first once more: it warms up
            expected = None
            for name, (run, _) in found.items():
                start = time.process_time()
                logits = run(image)
                passed = time.process_time() - start
                expected = logits if expected is None else expected
                if index:
                    seconds[name].append(passed)
                    differ[name] = max(differ[name], float(np.abs(logits - expected).max()))
                    same[name].append(float((logits.argmax(1) == expected.argmax(1)).mean()))
    return {
        name: {
            'MB': round(size / 1e6, 1),
            'CPU s per image': round(statistics.median(seconds[name]), 4),
            'largest difference': differ[name],
            'same pixels': statistics.mean(same[name]),
        }
        for name, (_, size) in found.items()
    }


def main(argv: list[str] | None = None) -> None:
    """Measure every network, print a table."""
    args = parse_args(argv)
    torch.set_num_threads(1)
    results = {}
    for config, checkpoint in zip(args.networks[::2], args.networks[1::2], strict=True):
        results[Path(config).stem] = measure(config, checkpoint, args)
    lines = ['| network | form | MB | images/s | times float32 | largest difference | same pixels |']
    lines.append('|---|---|--:|--:|--:|--:|--:|')
    for network, found in results.items():
        first = next(iter(found.values()))['CPU s per image']
        for name, one in found.items():
            rate = one['CPU s per image']
            lines.append(
                f'| {network} | {name} | {one["MB"]} | {1 / rate:.1f} | {first / rate:.2f} | '
                f'{one["largest difference"]:.1e} | {100 * one["same pixels"]:.3f} % |'
            )
    record = dict(machine=machine(torch.device('cpu')), images=args.images, side=args.side, results=results)
    report('\n'.join(lines), record, args.json)


if __name__ == '__main__':
    main()
