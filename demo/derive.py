"""Writes the configs of one run of the demo: small diffs of the shipped ones, which a user can go on with."""

from __future__ import annotations

from pathlib import Path
from pprint import pformat

from mmengine.config import Config

from demo.voc import DataError, Layout
from mmseg_wsss.fileio import whole_file

REAL_ITERS = 600


def weights_file(weights: str | None) -> str | None:
    """A URL as it is, a file with its whole path.

    Raises:
        DataError: it is neither.
    """
    if not weights or '://' in weights:
        return weights
    if not Path(weights).is_file():
        raise DataError(f'WEIGHTS={weights} is neither a file nor a URL')
    return str(Path(weights).resolve())


def tagged(layout: Layout) -> dict:
    """The data loaders' part of a config for real images: training by tags, evaluation by masks."""
    images = {
        'data_root': str(layout.root),
        'classes': layout.classes,
        'image_labels': {'_delete_': True, **layout.labels},
    }
    train = {'ann_file': layout.train, **images}
    val = {'ann_file': layout.val, 'data_prefix': {'seg_map_path': layout.masks}, **images}
    return {
        'train_dataloader': {'dataset': train},
        'val_dataloader': {'dataset': val},
        'test_dataloader': {'dataset': val},
    }


def schedule(base: Path, iters: int | None) -> dict:
    """A training without validation in between, and everything that counts iterations scaled to ``iters``."""
    cfg = Config.fromfile(base)
    usual = cfg.train_cfg.max_iters
    iters = iters or usual
    values = {'train_cfg': {'max_iters': iters, 'val_interval': iters + 1}, 'model': {}}
    if iters != usual:
        values['param_scheduler'] = [
            dict(one, begin=one.begin * iters // usual, end=max(1, one.end * iters // usual))
            for one in cfg.param_scheduler
        ]
        if 'starts' in cfg.model:
            values['model'] = {'starts': {name: at * iters // usual for name, at in cfg.model.starts.items()}}
    return values


def write(path: Path, base: Path, values: dict) -> Path:
    """Write ``values`` as a config on top of ``base``; an equal file is left alone."""
    lines = [f'# Written by demo/run.py.\n_base_ = {str(base)!r}\n']
    lines += [f'{key} = {pformat(value, width=120, sort_dicts=False)}\n' for key, value in values.items()]
    text = ''.join(lines)
    if not path.exists() or path.read_text() != text:
        with whole_file(path) as temporary:
            temporary.write_text(text)
    return path
