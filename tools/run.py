"""From photos with tags to masks in one command: ``mmseg-wsss run PHOTOS --tags tags.csv``.

Checks photos and tags, takes the classes from the tags, chooses network and iterations by the hardware and the number
of photos, says why and how long it will take, fetches the pretrained weights, trains both stages of WeakTr and segments
all photos, those without tags too. OUT gets ``masks``, ``overlays``, ``predictions.json``, ``configs`` (what was
trained) and ``work``. A run that was interrupted goes on when it is called again.
"""

import argparse
import signal
import sys
from pathlib import Path

NAMES = ('deit_tiny', 'deit_small', 'deit_base')  # in the zoo, with the normalisation of the configs


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    add = parser.add_argument
    add('photos', type=Path, help='folder of the photos, sub-folders allowed')
    add('--tags', type=Path, required=True, metavar='FILE', help='CSV with the header file,tags, or JSON')
    add('--out', type=Path, metavar='DIR', help='where everything goes (default: PHOTOS_masks)')
    add('--classes', nargs='+', default=[], metavar='TAG', help='tags to learn; others are dropped (default: all)')
    add(
        '--weights',
        default='deit_tiny',
        metavar='FILE_OR_NAME',
        help=f'plain ViT: {", ".join(NAMES)}, or a file of one with patches of 16 pixels that was trained with '
        "ImageNet's mean and standard deviation (default: deit_tiny)",
    )
    add('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    args.photos = args.photos.resolve()
    args.out = (args.out or args.photos.with_name(f'{args.photos.name}_masks')).resolve()
    if args.weights not in NAMES and not Path(args.weights).is_file():
        parser.error(f'--weights {args.weights}: no such file; the names are {", ".join(NAMES)}')
    if args.photos in (args.out, *args.out.parents):
        parser.error(f'--out {args.out} is in the folder of the photos, where its pictures would be taken for photos')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmengine.config import Config
from mmseg.registry import MODELS
from predict import main as predict
from run_two_stage import last_checkpoint, run_two_stage

from mmseg_wsss.apis.photos import FEW, Photos, Recipe, choose_recipe, read_photos
from mmseg_wsss.checkpoints import fetch
from mmseg_wsss.cores import usable_cores
from mmseg_wsss.datasets.conversion.small_copies import longest_side, small_copies
from mmseg_wsss.fileio import file_sha256, unwritable, whole_file, write_text
from mmseg_wsss.pseudo_labels import Manifest

SIDE = 640  # longer side of the copies to learn from, where photos are larger
CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'weaktr'


def label_refiner() -> str:
    """The dense CRF, as WeakTr has it; PAR where pydensecrf, which has to be compiled, is not installed."""
    try:
        MODELS.build(dict(type='DenseCRF'))
    except ImportError:
        return 'par'
    return 'crf-labels'


def describe(photos: Photos, recipe: Recipe) -> str:
    """What was found and what is going to be done."""
    few = [name for name in photos.classes if photos.counts[name] < FEW]
    count = len(photos.names)
    lines = [
        f'{count} photos with tags, {photos.untagged} without (they get masks, and teach nothing)',
        f'{len(photos.classes)} classes: ' + ', '.join(f'{name} {photos.counts[name]}' for name in photos.classes),
        *[f'WARNING: fewer than {FEW} photos of {", ".join(few)}: misspelt? (--classes chooses)'] * bool(few),
        f'{recipe.arch}, by the width of the weights; {"bfloat16" if recipe.bfloat16 else "float32"}, the faster on '
        f'{recipe.why}',
        f'{recipe.cam_iters} iterations of 32 photos ({32 * recipe.cam_iters / count:.0f} times each), then '
        f'{recipe.seg_iters} of 8 on the labels that come out ({8 * recipe.seg_iters / count:.0f} times each)',
        f'labels refined by: {label_refiner()}',
        f'this will take about {recipe.seconds / 60:.0f} minutes (estimated from a training step)',
    ]
    return '\n'.join(lines)


def common(cfg: Config, recipe: Recipe, weights: str, iters: int) -> None:
    """Set what both stages share."""
    cfg.model.backbone.update(arch=recipe.arch, init_cfg=dict(type='Pretrained', checkpoint=weights))
    cfg.optim_wrapper.type = 'BF16OptimWrapper' if recipe.bfloat16 else 'OptimWrapper'
    cfg.param_scheduler[-1].end = cfg.train_cfg.max_iters = iters
    cfg.train_cfg.val_interval = iters + 1
    cfg.default_hooks.checkpoint.update(interval=max(1, iters // 4), max_keep_ckpts=1)
    cfg.train_dataloader.num_workers = cfg.test_dataloader.num_workers = min(4, usable_cores())
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None


def first_stage(photos: Photos, recipe: Recipe, weights: str, images: dict, tags: Path) -> Config:
    """Image-level labels -> CAMs."""
    cfg = Config.fromfile(CONFIGS / 'weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py')
    common(cfg, recipe, weights, recipe.cam_iters)
    cfg.model.num_classes = len(photos.classes)
    labels = dict(type='TagFile', path=str(tags), ignore_tags=photos.dropped)
    images = dict(images, type='ImageTagDataset', image_labels=labels)
    cfg.train_dataloader.dataset = dict(images, pipeline=cfg.train_pipeline)
    cfg.test_dataloader.dataset = dict(images, pipeline=cfg.test_pipeline, test_mode=True)
    return cfg


def second_stage(photos: Photos, recipe: Recipe, weights: str, images: dict, out: Path) -> Config:
    """Labels made of the CAMs -> segmentation."""
    cfg = Config.fromfile(CONFIGS / 'weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py')
    common(cfg, recipe, weights, recipe.seg_iters)
    cfg.model.decode_head.num_classes = len(photos.classes) + 1
    cfg.param_scheduler[0].end = max(1, recipe.seg_iters // 10)
    images = dict(images, type='PseudoMaskDataset', mask_dir=str(out / 'work/labels/SegmentationClass'))
    cfg.train_dataloader.dataset = dict(images, pipeline=cfg.retrain_pipeline)
    cfg.test_dataloader.dataset = dict(images, pipeline=cfg.test_pipeline, test_mode=True)
    return cfg


def prepare(args: argparse.Namespace) -> dict[str, Path]:
    """Check, choose, say what, and write the configs; of a run that goes on, take those that are there.

    Raises:
        OSError, ValueError: something is wrong with the photos, the tags, the weights or the folder.
    """
    configs = {stage: args.out / 'configs' / f'weaktr-{stage}.py' for stage in ('cam', 'seg')}
    photos = read_photos(args.photos, args.tags, args.classes)
    weights = str(fetch(args.weights) if args.weights in NAMES else Path(args.weights).resolve())
    settings = dict(photos=args.photos, tags=file_sha256(args.tags), weights=file_sha256(weights), seed=args.seed)
    manifest = Manifest(args.out / 'work', dict(settings, classes=photos.classes))
    if manifest.read() is not None and all(path.is_file() for path in configs.values()):
        return configs
    recipe = choose_recipe(weights, tagged=len(photos.names), photos=len(photos.names) + photos.untagged)
    print(describe(photos, recipe), flush=True)
    manifest.write({})
    root = args.photos
    if max(longest_side(root / name) for name in photos.names) > 1.5 * SIDE:
        root = args.out / 'work' / 'photos'
        small_copies(args.photos, photos.names, root, side=SIDE, workers=usable_cores())
    listed = args.out / 'work' / 'photos.txt'
    write_text(listed, '\n'.join(photos.names) + '\n')
    images = dict(classes=photos.classes, data_root='', data_prefix=dict(img_path=str(root)), ann_file=str(listed))
    cam = first_stage(photos, recipe, weights, images, args.tags.resolve())
    seg = second_stage(photos, recipe, weights, images, args.out)
    for cfg, path in zip((cam, seg), configs.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            cfg.dump(temporary)
    return configs


def main(argv: list[str] | None = None) -> int:
    """Do what is left to do; returns the exit status."""
    args = parse_args(argv)
    if problem := unwritable(args.out):
        sys.exit(f'error: --out {problem}')
    try:
        configs = prepare(args)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the running command ends too
    work, workers = args.out / 'work', str(usable_cores())
    labels = ['--workers', workers, '--refine', label_refiner()]
    run_two_stage(configs['cam'], configs['seg'], work, seed=args.seed, labels=labels)
    checkpoint = last_checkpoint(work / 'seg', Config.fromfile(configs['seg']))
    network = [str(configs['seg']), str(checkpoint)]
    status = predict([*network, str(args.photos), '--out', str(args.out), '--workers', workers])
    print(f'Other photos: mmseg-wsss predict {" ".join(network)} PHOTOS --out DIR')
    return status


if __name__ == '__main__':
    sys.exit(main())
