"""Draw what the training sees, one PNG per sample: ``browse_dataset.py CONFIG --out DIR``.

All views of ``MultiView`` by name, the tags, the box of the image within its padding, and the mask where there is one.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the pictures')
    parser.add_argument('--num', type=int, default=8, help='samples, spread evenly over the training set (default: 8)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override values')
    args = parser.parse_args(argv)
    if args.num < 1:
        parser.error('--num must be at least 1')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_wsss.engine import read_config
from mmseg_wsss.fileio import unwritable
from mmseg_wsss.visualization import sample_page, save_page


def main(argv: list[str] | None = None) -> None:
    """Load and draw."""
    args = parse_args(argv)
    if problem := unwritable(args.out):
        sys.exit(f'error: --out {problem}')
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    names = {key: dataset.metainfo.get(key) or () for key in ('classes', 'palette')}
    for index in np.unique(np.linspace(0, len(dataset) - 1, args.num).round().astype(int)).tolist():
        item = dataset[index]
        page = sample_page(item['inputs'], item['data_samples'], **names)
        save_page(page, Path(args.out) / f'{index:06d}_{Path(item["data_samples"].img_path).stem}.png')
    print(f'{min(args.num, len(dataset))} of {len(dataset)} samples drawn in {args.out}')


if __name__ == '__main__':
    main()
