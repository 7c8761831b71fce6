"""Label images with a network: ``python tools/make_pseudo_labels.py CONFIG [CHECKPOINT] --out DIR``.

DIR gets ``SegmentationClass/NAME.png`` (palette PNGs at the images' sizes), ``manifest.json`` (the settings) and
``report.json``. The images are those of the config's ``test_dataloader``; ``--split`` selects others of the same
folder, ``--images train`` those of the ``train_dataloader``, whose masks are not needed. All use the test pipeline. A
run that was interrupted continues where it stopped when it is started again. The exit status is 1 if an image could not
be read.
"""

import argparse
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('config', help='config file')
    add('checkpoint', nargs='?', help='checkpoint file of this config; none for CLIPCAM, which is not trained')
    add('--out', required=True, metavar='DIR', help='folder of the masks')
    add('--images', choices=['test', 'train'], default='test', help="which data loader's images (default: test)")
    add('--split', metavar='FILE', help='images to label (replaces the ann_file of their data set)')
    add('--source', choices=['cam', 'seg'], help='label by the CAMs or the segmentation (default: CAMs if there are)')
    background = parser.add_mutually_exclusive_group()
    add_background = background.add_argument
    add_background(
        '--threshold',
        type=float,
        metavar='X',
        help="background threshold of the CAMs, in [0, 1) (default: the model's background_threshold)",
    )
    add_background('--sweep', action='store_true', help='choose the threshold with the best mIoU on images with masks')
    add('--sweep-split', metavar='FILE', help='labelled images of the sweep (default: those that are labelled)')
    add(
        '--refine',
        choices=['none', 'par', 'crf-labels', 'crf-scores', 'affinity', 'affinity+crf'],
        default='none',
        help="values: the config's keys par, label_crf, crf, affinity (of the network itself if it has no backbone)",
    )
    add('--all-classes', dest='mask_by_labels', action='store_false', help='keep classes that the tags do not name')
    add('--tta', action='store_true', help="segmentation at several scales and flips: the config's tta_pipeline")
    add('--shard', metavar='I/N', help='label every N-th image only, from the I-th of the sorted names (see docs)')
    add('--soft', action='store_true', help='write scores too, SoftScores/NAME.npz (see load_soft_scores)')
    add('--amp', action='store_true', help='bfloat16 autocast')
    add('--workers', type=int, default=0, metavar='N', help='processes (of each launched one) for the CRF and writing')
    add('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    add('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values')
    args = parser.parse_args(argv)
    for name in ('config', 'checkpoint'):
        if getattr(args, name) is not None and not Path(getattr(args, name)).is_file():
            parser.error(f'there is no {name} file {getattr(args, name)}')
    if args.threshold is not None and not 0 <= args.threshold < 1:
        parser.error(f'--threshold must be in [0, 1), got {args.threshold}')
    if args.sweep_split and not args.sweep:
        parser.error('--sweep-split needs --sweep')
    if args.shard is not None:
        from mmseg_wsss.pseudo_labels import Shard

        try:
            args.shard = Shard.parse(args.shard)
        except ValueError as error:
            parser.error(f'--shard {error}')
        if args.sweep:
            parser.error('--shard does not work with --sweep: sweep once without --shard, and pass its --threshold')
    if args.workers < 0:
        parser.error('--workers must not be negative')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size, init_dist, is_distributed
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.engine import (
    finish_launch,
    is_first_process,
    load_own_weights,
    prepare_cpu_launch,
    read_config,
    use_tta,
)
from mmseg_wsss.fileio import file_sha256, unwritable
from mmseg_wsss.folder_lock import FolderInUseError
from mmseg_wsss.models.refiners import importable, on_cpu
from mmseg_wsss.pseudo_labels import (
    ImageList,
    Manifest,
    Scorer,
    Unreadable,
    affinity_of,
    build_dataset,
    choose_source,
    label_images,
    labels_folder,
    load_model,
    refiner_of,
    settings_of,
    sweep_threshold,
    write_report,
)
from mmseg_wsss.worker_pool import WorkerDiedError


def build_cfg(args: argparse.Namespace) -> Config:
    """The config with the command line's values in it; sets ``args.source``.

    Raises:
        ValueError: options that do not fit each other or the config.
    """
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if cfg.get('test_dataloader') is None:
        raise ValueError(f'{args.config} has no test_dataloader, so there are no images to label')
    args.source = choose_source(cfg.model, args.source)
    if args.source == 'seg' and (args.sweep or args.threshold is not None):
        raise ValueError('a segmentation has its own background: --threshold and --sweep are for CAMs (--source cam)')
    if args.source == 'seg' and args.refine.startswith('affinity'):
        raise ValueError(f'--refine {args.refine} spreads CAMs: it does not work with --source seg')
    if args.images == 'train' and cfg.get('train_dataloader') is None:
        raise ValueError(f'{args.config} has no train_dataloader: leave out --images train')
    if args.source == 'cam' and args.tta:
        raise ValueError('CAMs already use several scales and flips (cam_scales): --tta is for segmentations')
    if args.tta:
        use_tta(cfg)
    elif cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return cfg


def first_process_says(function) -> Any:
    """The function's result in the first process, for all of them, because shared files may change meanwhile."""
    answer = [function() if get_rank() == 0 else None]
    broadcast_object_list(answer)
    return answer[0]


def begin(
    manifest: Manifest, images: ImageList, indices: list[int] | None, held: bool
) -> tuple[dict | None, list[int]]:
    """What an earlier run found out (None for a new folder), and the images that are left."""
    found = manifest.read()
    if held:  # otherwise they may be of a run that goes on
        images.clean(indices)
    return found, images.left(indices)


def main(argv: list[str] | None = None) -> int:
    """Label; returns the exit status."""
    args = parse_args(argv)
    if problem := unwritable(args.out):
        sys.exit(f'error: --out {problem}')
    try:
        with labels_folder(args.out, args.shard) if is_first_process(args.launcher) else nullcontext(False) as held:
            return label(args, held=held)
    except FolderInUseError as error:
        sys.exit(f'error: --out {error}')


def label(args: argparse.Namespace, *, held: bool) -> int:
    """Label into a folder; returns the exit status."""
    cfg = build_cfg(args)
    network = MODELS.build(cfg.model)
    if args.source == 'cam' and args.threshold is None and not args.sweep:
        args.threshold = network.background_threshold
    test = cfg.test_dataloader.dataset
    labelled = dict(cfg[f'{args.images}_dataloader'].dataset, pipeline=test.pipeline)
    images = ImageList(build_dataset(labelled, split=args.split), args.out, soft=args.soft)
    sweep = None
    if args.sweep:
        labelled = build_dataset(test, split=args.sweep_split or args.split, masks=True)
        sweep = ImageList(labelled, args.out)
    affinity = affinity_of(cfg, args.refine, network)
    weights = load_own_weights(network) if args.checkpoint is None else file_sha256(args.checkpoint)
    settings = settings_of(args, cfg, weights=weights, affinity=affinity, images=images, sweep=sweep)
    manifest = Manifest(args.out, settings)
    prepare_cpu_launch(cfg)
    if args.launcher != 'none' and not is_distributed():
        init_dist(args.launcher)

    indices = None if args.shard is None else args.shard.indices(images.names)
    found, left = first_process_says(lambda: begin(manifest, images, indices, held))
    reported = args.shard is None or (Path(args.out) / args.shard.report).is_file()
    if found is not None and not left and reported:
        unseen = [Unreadable(**one) for one in found.get('skipped', [])]  # by the sweep, which is not repeated
        if get_rank() == 0:
            print(f'nothing to do: all {len(images if indices is None else indices)} masks are in {args.out}')
            for one in unseen:
                print(f'the sweep SKIPPED {one.error}', file=sys.stderr)
        finish_launch()
        return 1 if unseen else 0
    skipped = run(args, cfg, network, affinity, images, sweep, manifest, found, left)
    finish_launch()
    return 1 if skipped else 0


def run(
    args: argparse.Namespace,
    cfg: Config,
    network: nn.Module,
    affinity: nn.Module | None,
    images: ImageList,
    sweep: ImageList | None,
    manifest: Manifest,
    found: dict | None,
    left: list[int],
) -> list[Unreadable]:
    """Sweep if necessary, label the remaining images, report; returns the images that were skipped."""
    refiner = refiner_of(cfg, args.refine)
    built = None if refiner is None else MODELS.build(refiner)
    in_workers = built is not None and on_cpu(built)
    model = load_model(network, cfg, args.checkpoint, source=args.source)
    beside = None if in_workers else built
    scorer = Scorer(
        model,
        source=args.source,
        mask_by_labels=args.mask_by_labels,
        amp=args.amp,
        refiner=beside,
        affinity=affinity,
    )
    loaders = cfg.test_dataloader.get('num_workers', 0)
    if found is None:
        found = {} if sweep is None else sweep_threshold(sweep, scorer, num_workers=loaders)
        name = 'manifest.json' if args.shard is None else args.shard.manifest
        first_process_says(lambda: manifest.write(found, name))
    start = time.monotonic()
    writer = {
        'palette': images.dataset.metainfo.get('palette') or (),
        'refiner': importable(refiner) if in_workers else None,
    }
    try:
        mine = label_images(
            images,
            left[get_rank() :: get_world_size()],
            scorer=scorer,
            threshold=found.get('threshold', args.threshold),
            writer=writer,
            workers=args.workers,
            loaders=loaders,
        )
    except WorkerDiedError as error:
        raise WorkerDiedError(f'{error}; the next call continues with the remaining images') from error
    unlabelled = {one for share in all_gather_object(mine) for one in share}
    skipped = sorted(unlabelled | {Unreadable(**one) for one in found.get('skipped', [])})
    if get_rank() == 0:
        if sweep is not None:
            print(f'threshold {found["threshold"]:.2f}: {found["mIoU"]:.2f} mIoU on {found["images"]} images')
        more = {} if args.shard is None else args.shard.report_of(images, skipped, manifest)
        total = more.pop('total', len(images))
        text = write_report(
            Path(args.out),
            total=total,
            written=len(left) - len(unlabelled),
            before=total - len(left),
            skipped=skipped,
            seconds=time.monotonic() - start,
            **more,
        )
        print(text, file=sys.stderr if skipped else sys.stdout)
    return skipped


if __name__ == '__main__':
    sys.exit(main())
