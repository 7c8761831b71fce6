"""Time of every part of one ToCo training iteration, and peak memory, on CPU or GPU.

    python benchmarks/toco_step.py --config configs/toco/....py --batch-size 4 --iters 5 --json out.json

The iteration is the Runner's (``train_step`` with the config's pipeline, model and optimizer wrapper), without its
hooks and with the batch loaded in the same process. Weights are random; every loss is on, the segmentation loss too.
Where the config's data set is absent, JPEG images of PASCAL VOC's size are drawn.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from drawn_images import draw_images
from machine import machine, new_parser, report
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from part_timer import CLOCKS, REST, WHOLE, PartTimer, peak_memory

from mmseg_wsss.models import ToCo

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT / 'configs/toco/toco_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py'
DTYPES = {'OptimWrapper': 'float32', 'BF16OptimWrapper': 'bfloat16 autocast', 'AmpOptimWrapper': 'float16 autocast'}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return add_arguments(new_parser(__doc__, device=True), argv)


def add_arguments(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The arguments of every benchmark of a training step, read."""
    parser.add_argument('--config', type=Path, default=DEFAULT, help='default: ViT-B/16 on PASCAL VOC, crops of 448')
    parser.add_argument('--batch-size', type=int, help="default: the config's")
    parser.add_argument('--iters', type=int, default=5, help='measured iterations (default: 5)')
    parser.add_argument('--warmup', type=int, default=2, help='iterations before them (default: 2)')
    parser.add_argument(
        '--amp',
        action=argparse.BooleanOptionalAction,
        help="bfloat16 autocast or, with --no-amp, float32 (default: the config's)",
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override values')
    args = parser.parse_args(argv)
    if args.iters < 1 or args.warmup < 0:
        parser.error('--iters must be at least 1 and --warmup at least 0')
    return args


def build_cfg(args: argparse.Namespace) -> Config:
    """The config with the command line's values in it, random weights and loading in this process."""
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.model.backbone.init_cfg = None
    if args.amp is not None:
        cfg.optim_wrapper.type = 'BF16OptimWrapper' if args.amp else 'OptimWrapper'
    loader = cfg.train_dataloader
    loader.update(num_workers=0, persistent_workers=False, batch_size=args.batch_size or loader.batch_size)
    loader.pop('prefetch_factor', None)
    return cfg


def use_drawn_images_if_absent(cfg: Config, folder: Path) -> str:
    """Point ``cfg`` at drawn images in ``folder`` unless its own data set is there; returns which of them it is."""
    dataset = cfg.train_dataloader.dataset
    root, labels = Path(dataset.get('data_root') or '/nowhere'), dataset.get('image_labels', {})
    needed = ['.', dataset.get('ann_file'), labels.get('path'), labels.get('root')]
    if all((root / path).exists() for path in needed if path):
        return str(root)
    count, num_classes = 16, cfg.model.num_classes
    classes = tuple(f'class{index}' for index in range(num_classes))
    draw_images(folder, count, classes)
    cfg.train_dataloader.dataset = dict(
        type='ImageTagDataset',
        data_root=str(folder),
        classes=classes,
        image_labels=dict(type='TagFile', path='tags.json'),
        data_prefix=dict(img_path='images'),
        pipeline=dataset.pipeline,
    )
    return f'{count} drawn images'


def wrap_parts(timer: PartTimer, model: ToCo, optim: OptimWrapper) -> None:
    """Name the parts of ``model.train_step``; what an ablation leaves out has none."""
    timer.wrap(model.data_preprocessor, 'forward', 'normalise')
    timer.wrap(model.backbone, 'tokens', 'forward')  # the main one; inside another part it is that part's
    for head in filter(None, (model.cam_head, model.aux_cam_head)):
        timer.wrap(head, 'loss', 'classification losses')
    timer.wrap(model, 'training_cams', 'multi-scale CAM')
    timer.wrap(model, '_patch_contrast', 'PTC')
    timer.wrap(model, '_class_contrast', 'CTC')
    if model.projector is not None:
        timer.wrap(model.projector, 'update', 'EMA')
        timer.wrap(model.projector, 'forward', 'projector')
        timer.wrap(model.projector, 'project_global', 'projector')
    timer.wrap(model, 'pseudo_label', 'pseudo-label')
    if model.refiner is not None:
        timer.wrap(model.refiner, 'forward', 'refiner')
    timer.wrap(model, 'segmentation_losses', 'segmentation losses')
    timer.wrap(optim, 'backward', 'backward')
    for method in ('step', 'zero_grad'):
        timer.wrap(optim, method, 'optimizer')


def build_training(
    cfg: Config, device: torch.device, *, kind: str | None = None, weights: dict | None = None
) -> tuple[ToCo, OptimWrapper]:
    """A model whose losses have all begun, and its optimizer.

    Args:
        cfg: config of the training.
        device: where it runs.
        kind: class of the model in place of the config's.
        weights: of the model; random where ``None``.
    """
    model = MODELS.build(dict(cfg.model, type=kind or cfg.model.type))
    if weights is None:
        model.init_weights()
    else:
        model.load_state_dict(weights)
    model.to(device).train()
    model.iteration = max(model.starts.values())
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def _batches(cfg: Config) -> Iterator[dict]:
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    while True:  # a finite sampler starts again
        yield from loader


def measure(cfg: Config, *, device: str, iters: int, warmup: int) -> dict:
    """Run ``warmup + iters`` iterations.

    Returns:
        header values; ``parts``: name -> clock -> one number per measured iteration; ``memory``: bytes.
    """
    place = torch.device(device)
    init_default_scope('mmseg')
    set_random_seed(0)
    torch.backends.cudnn.benchmark = cfg.get('env_cfg', {}).get('cudnn_benchmark', False)
    record = dict(describe(cfg, place), warmup=warmup)
    timer = PartTimer(place)
    with tempfile.TemporaryDirectory() as folder:
        record['data'] = use_drawn_images_if_absent(cfg, Path(folder) / 'drawn')
        model, optim = build_training(cfg, place)
        wrap_parts(timer, model, optim)
        batches = _batches(cfg)
        before = peak_memory(place)
        for _ in range(warmup + iters):
            with timer.iteration():
                with timer.part('data'):
                    batch = next(batches)
                model.train_step(batch, optim)
    measured = timer.iterations[warmup:]
    record['parts'] = {
        path: {clock: [float(parts[path][index]) for parts in measured] for index, clock in enumerate(CLOCKS)}
        for path in measured[0]
    }
    kind = 'CUDA allocator' if place.type == 'cuda' else 'resident memory of the process'
    record['memory'] = dict(kind=kind, peak=peak_memory(place), before_first_iteration=before)
    return record


def describe(cfg: Config, device: torch.device) -> dict:
    """The conditions of the measurement: config, hardware, versions, threads, sizes and dtype."""
    wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
    return dict(
        config=Path(cfg.filename).stem,
        **machine(device),
        batch_size=cfg.train_dataloader.batch_size,
        crop=list(cfg.train_dataloader.dataset.pipeline[1].geometry[-1].crop_size),
        dtype=DTYPES.get(wrapper, wrapper),
    )


def to_table(record: dict) -> str:
    """Header and markdown table of medians; medians of parts need not add up to the median of the total."""
    header = {key: value for key, value in record.items() if key not in ('parts', 'memory')}
    lines = [f'{key}: {_in_words(value)}' for key, value in header.items()]
    memory, parts = record['memory'], record['parts']
    lines.append(
        f'peak memory: {memory["peak"] / 2**20:.0f} MiB ({memory["kind"]}), '
        f'{memory["before_first_iteration"] / 2**20:.0f} MiB before the first iteration'
    )
    whole = np.median(parts[WHOLE]['wall_s'])
    lines.append(f'medians of {len(parts[WHOLE]["wall_s"])} iterations\n')
    lines += ['| part | wall ms | share | CPU ms | page faults |', '|---|--:|--:|--:|--:|']
    for path in [path for path in parts if path not in (WHOLE, REST)] + [REST, WHOLE]:
        wall, cpu, faults = (np.median(parts[path][clock]) for clock in CLOCKS)
        name = path if '/' not in path else f'- {path}'
        lines.append(f'| {name} | {wall * 1e3:.1f} | {wall / whole:.1%} | {cpu * 1e3:.1f} | {faults:.0f} |')
    return '\n'.join(lines)


def _in_words(value: object) -> object:
    return ', '.join(f'{key} {entry}' for key, entry in value.items()) if isinstance(value, dict) else value


def run(args: argparse.Namespace, measure: Callable[..., dict], to_table: Callable[[dict], str]) -> None:
    """Measure a training step as the command line says, and report it."""
    MMLogger.get_instance('benchmark', log_level='ERROR')  # of the table, not of every parameter's initialisation
    record = measure(build_cfg(args), device=args.device, iters=args.iters, warmup=args.warmup)
    report(to_table(record), record, args.json)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    run(parse_args(argv), measure, to_table)


if __name__ == '__main__':
    main()
