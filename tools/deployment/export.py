"""Export encoder and decoder of a trained network: ``python tools/deployment/export.py CONFIG CHECKPOINT --out FILE``.

FILE.onnx is an ONNX model, FILE.pt2 a program of ``torch.export``. Its input is one image (1, 3, H, W), RGB in 0..255,
of any size whose sides are multiples of the patch size; its output the logits (1, K, H, W). What was written is read
again and compared with the network on images of its test set. ``run_onnx.py`` beside this file uses it without torch.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('config', help='config file of a network with a decoder')
    add('checkpoint', help='checkpoint file of this config')
    add('--out', type=Path, required=True, metavar='FILE', help='file to write, .onnx or .pt2')
    add(
        '--side', type=int, metavar='N', help='longer side of photographs, in pixels, for run_onnx.py (default: theirs)'
    )
    add('--num', type=int, default=4, help='images of the test set to compare on (default: 4)')
    add('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values')
    args = parser.parse_args(argv)
    for path in (args.config, args.checkpoint):
        if not Path(path).is_file():
            parser.error(f'there is no file {path}')
    if args.out.suffix not in ('.onnx', '.pt2'):
        parser.error(f'--out must end in .onnx or .pt2, got {args.out}')
    if args.num < 1:
        parser.error('--num must be at least 1')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from collections.abc import Callable, Iterator

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS

from mmseg_wsss.apis.deployable import Deployable, export, write_onnx
from mmseg_wsss.apis.run_folder import evenly
from mmseg_wsss.datasets.palette import voc_palette
from mmseg_wsss.datasets.transforms.load_image import read_image
from mmseg_wsss.engine import read_config
from mmseg_wsss.fileio import unwritable, whole_file
from mmseg_wsss.pseudo_labels import load_model

TOLERANCE = 1e-3


def test_images(cfg: Config, count: int, patch: int) -> Iterator[torch.Tensor]:
    """Images (1, 3, H, W) of the test set, RGB, cut to whole patches."""
    images = DATASETS.build(cfg.test_dataloader.dataset)
    for index in evenly(len(images), count):
        image = read_image(images.get_data_info(index)['img_path'])[..., ::-1]  # BGR to RGB
        height, width = (length // patch * patch for length in image.shape[:2])
        yield torch.from_numpy(image[:height, :width].copy()).permute(2, 0, 1)[None].float()


def reader(path: Path) -> Callable[[torch.Tensor], np.ndarray]:
    """The written file as a function of an image."""
    if path.suffix == '.pt2':
        module = torch.export.load(path).module()
        return lambda image: module(image).detach().numpy()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda image: session.run(None, {'image': image.numpy()})[0]


def main(argv: list[str] | None = None) -> None:
    """Export, read again, compare."""
    args = parse_args(argv)
    if problem := unwritable(args.out, file=True):
        sys.exit(f'error: --out {problem}')
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    network = load_model(MODELS.build(cfg.model), cfg, args.checkpoint, source='seg').cpu()
    deployable, program = Deployable(network).eval(), export(network)
    if args.out.suffix == '.pt2':
        with whole_file(args.out) as temporary:
            torch.export.save(program, temporary)
    else:
        known = DATASETS.build(cfg.test_dataloader.dataset).metainfo
        palette = voc_palette(len(known['classes']), known.get('palette') or ())
        write_onnx(
            program,
            args.out,
            classes=known['classes'],
            palette=palette,
            patch_size=deployable.patch_size,
            side=args.side,
        )
    run, largest, same, pixels = reader(args.out), 0.0, 0, 0
    for image in test_images(cfg, args.num, deployable.patch_size):
        with torch.inference_mode():
            expected = deployable(image).numpy()
        found = run(image)
        largest = max(largest, float(np.abs(found - expected).max()))
        same += int((found.argmax(1) == expected.argmax(1)).sum())
        pixels += found[0, 0].size
    print(
        f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; logits differ by at most {largest:.1e}, '
        f'{100 * same / pixels:.3f} % of the pixels have the same class'
    )
    if largest > TOLERANCE:
        sys.exit(f'error: {args.out} differs from the network by more than {TOLERANCE}')


if __name__ == '__main__':
    main()
