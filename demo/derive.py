"""Writes the two configs of one run of the demo: small diffs of the shipped ones, which a user can go on with."""

from __future__ import annotations

from pathlib import Path
from pprint import pformat

from mmengine.config import Config

from demo.voc import DataError, find

CONFIGS = Path(__file__).resolve().parents[1] / 'configs/toco'
DRAWN = {
    'classifier': CONFIGS / 'toco_vit-demo_drawn-scenes_cls-only.py',
    'toco': CONFIGS / 'toco_vit-demo_drawn-scenes.py',
}
REAL = {
    'classifier': CONFIGS / 'cls-only_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
    'toco': CONFIGS / 'toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py',
}
REAL_ITERS = 600


def drawn(out: Path, iters: int | None) -> dict[str, Path]:
    """Configs for the drawn scenes: method name -> file below ``out``; ``iters`` None keeps the shipped number."""
    return {method: _write(out / f'{method}.py', base, _schedule(base, iters)) for method, base in DRAWN.items()}


def real(out: Path, data: str, weights: str | None, iters: int | None) -> dict[str, Path]:
    """Configs for real images: method name -> file below ``out``.

    Args:
        out: folder of the run.
        data: folder in VOC layout.
        weights: file or URL of a pretrained ViT-Tiny/16; None for DeiT-Tiny.
        iters: training iterations; None for ``REAL_ITERS``.

    Raises:
        DataError: the folder or the file lacks something.
    """
    layout = find(data)
    if weights and '://' not in weights:
        if not Path(weights).is_file():
            raise DataError(f'WEIGHTS={weights} is neither a file nor a URL')
        weights = str(Path(weights).resolve())
    scenes = {
        'data_root': str(layout.root),
        'classes': layout.classes,
        'image_labels': {'_delete_': True, **layout.labels},
    }
    train = {'ann_file': layout.train, **scenes}
    val = {'ann_file': layout.val, 'data_prefix': {'seg_map_path': layout.masks}, **scenes}
    count = len(layout.classes)
    configs = {}
    for method, base in REAL.items():
        values = _schedule(base, iters or REAL_ITERS)
        heads = ('cam_head', 'aux_cam_head')
        values['model'] |= {
            **{head: {'num_classes': count} for head in heads},
            'decode_head': {'num_classes': count + 1},
        }
        if weights:
            values['model']['backbone'] = {'init_cfg': {'checkpoint': weights}}
        values |= {
            'train_dataloader': {'dataset': train},
            'val_dataloader': {'dataset': val},
            'test_dataloader': {'dataset': val},
        }
        configs[method] = _write(out / f'{method}.py', base, values)
    return configs


def checkpoint(config: Path, folder: Path) -> Path:
    """The last checkpoint that training with ``config`` leaves in ``folder``."""
    return folder / f'iter_{Config.fromfile(config).train_cfg.max_iters}.pth'


def _schedule(base: Path, iters: int | None) -> dict:
    """A training without validation in between, and everything that counts iterations scaled to ``iters``."""
    cfg = Config.fromfile(base)
    usual = cfg.train_cfg.max_iters
    iters = iters or usual
    values = {'train_cfg': {'max_iters': iters, 'val_interval': iters + 1}, 'model': {}}
    if iters != usual:
        schedulers = [dict(scheduler, end=max(1, scheduler.end * iters // usual)) for scheduler in cfg.param_scheduler]
        values |= {'param_scheduler': schedulers, 'model': {'seg_start': cfg.model.seg_start * iters // usual}}
    return values


def _write(path: Path, base: Path, values: dict) -> Path:
    """Write ``values`` as a config on top of ``base``; an equal file is left alone."""
    lines = [f'# Written by demo/run.py.\n_base_ = {str(base)!r}\n']
    lines += [f'{key} = {pformat(value, width=120, sort_dicts=False)}\n' for key, value in values.items()]
    text = ''.join(lines)
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix('.part')
        part.write_text(text)
        part.replace(path)
    return path
