"""Count operations and parameters of a network: ``python tools/analysis_tools/get_flops.py CONFIG --shape 448 448``.

One forward pass of one image through backbone and decode head (WeakTr's first stage: backbone and CAM), as mmseg's tool
of this name counts; unlike there, attention is counted too. A multiplication with its addition is two operations.
Parameters are all that the checkpoint holds, also those that only training needs.
"""

import argparse

from mmengine.config import DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs=2, default=[448, 448], metavar=('HEIGHT', 'WIDTH'), help='in pixels')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override values')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmseg_wsss.engine import read_config


def main(argv: list[str] | None = None) -> None:
    """Count and print."""
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).eval()
    # the kernel of plain products, which the counter knows on every device
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 3, *args.shape), mode='tensor')
    flops, parameters = counter.get_total_flops(), sum(one.numel() for one in model.parameters())
    print(f'{args.shape[0]} x {args.shape[1]} pixels: {flops / 1e9:.6g} GFLOPs, {parameters / 1e6:.6g} M parameters')


if __name__ == '__main__':
    main()
