"""Draw image, CAM, pseudo-label, prediction and ground truth of images: ``picture_page.py CONFIG CHECKPOINT``.

For any method with CAMs. The pseudo-label is that of ``tools/make_pseudo_labels.py`` with the same ``--threshold`` and
``--refine``; the prediction is the network's own, or that of a second network, ``--seg CONFIG CHECKPOINT``.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config, DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('config', help='config file of a method with CAMs')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file of this config; none for CLIPCAM')
    parser.add_argument('--seg', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='network of the predictions')
    parser.add_argument('--threshold', type=float, metavar='X', help="default: the model's background_threshold")
    parser.add_argument(
        '--refine',
        choices=['none', 'par', 'crf-labels', 'crf-scores', 'affinity', 'affinity+crf'],
        default='none',
        help='as for the label tool',
    )
    parser.add_argument('--num', type=int, default=8, help='images, spread evenly over the validation (else test) set')
    parser.add_argument('--out', default='page.png', metavar='FILE', help='the PNG to write')
    parser.add_argument(
        '--no-photos', action='store_true', help='maps on white, for photographs that must not be published'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override values of CONFIG'
    )
    args = parser.parse_args(argv)
    for path in (args.config, args.checkpoint, *(args.seg or ())):
        if path is not None and not Path(path).is_file():
            parser.error(f'there is no file {path}')
    if args.num < 1:
        parser.error('--num must be at least 1')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch.utils.data import Dataset

from mmseg_wsss.datasets.transforms.load_image import read_image
from mmseg_wsss.engine import read_config
from mmseg_wsss.fileio import unwritable
from mmseg_wsss.pseudo_labels import Scorer, affinity_of, load_model, refiner_of
from mmseg_wsss.visualization import PictureRow, picture_page, save_page, without_photos


def images_of(cfg: Config) -> Dataset:
    """The validation set, or the test set if the config has no validation."""
    return DATASETS.build((cfg.get('val_dataloader') or cfg.test_dataloader).dataset)


def draw_row(scorer: Scorer, item: dict, threshold: float, classes: list[str]) -> PictureRow:
    """The row of one image; without image-level labels all classes compete."""
    scorer.mask_by_labels = 'gt_score' in item['data_samples']
    maps = scorer.maps(item)
    ids, scores = scorer.compete(maps, threshold)
    present = maps.scores if maps.tags is None else maps.scores * maps.tags[:, None, None].to(maps.scores)
    sample = maps.sample
    return PictureRow(
        image=read_image(sample.img_path)[..., ::-1],  # BGR to RGB
        cam=present.cpu().numpy(),
        pseudo_label=ids[scores.argmax(axis=0)],
        prediction=sample.pred_sem_seg.data[0].cpu().numpy(),
        ground_truth=sample.gt_sem_seg.data[0].cpu().numpy() if 'gt_sem_seg' in sample else None,
        title='' if maps.tags is None else ', '.join(classes[k + 1] for k in maps.tags.nonzero().flatten().tolist()),
    )


def main(argv: list[str] | None = None) -> None:
    """Predict and draw."""
    args = parse_args(argv)
    if problem := unwritable(args.out, file=True):
        sys.exit(f'error: --out {problem}')
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = load_model(MODELS.build(cfg.model), cfg, args.checkpoint, source='cam')
    refiner = refiner_of(cfg, args.refine)
    scorer = Scorer(
        model,
        source='cam',
        mask_by_labels=True,
        refiner=None if refiner is None else MODELS.build(refiner),
        affinity=affinity_of(cfg, args.refine, model),
    )
    threshold = model.background_threshold if args.threshold is None else args.threshold
    images = images_of(cfg)
    classes = list(images.metainfo['classes'])
    chosen = np.unique(np.linspace(0, len(images) - 1, args.num).round().astype(int)).tolist()
    rows = [draw_row(scorer, images[index], threshold, classes) for index in chosen]
    if args.seg:
        seg_cfg = read_config(args.seg[0])
        network = load_model(MODELS.build(seg_cfg.model), seg_cfg, args.seg[1], source='seg')
        images = images_of(seg_cfg)
        for row, index in zip(rows, chosen, strict=True):
            with torch.no_grad():
                predicted = network.test_step(pseudo_collate([images[index]]))[0]
            row.prediction = predicted.pred_sem_seg.data[0].cpu().numpy()
    if args.no_photos:
        rows = without_photos(rows)
    save_page(picture_page(rows, classes=classes, palette=images.metainfo.get('palette') or ()), args.out)
    print(f'{len(rows)} samples drawn on {args.out}')


if __name__ == '__main__':
    main()
