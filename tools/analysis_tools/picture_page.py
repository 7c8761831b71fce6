"""Draw image, CAM, pseudo-label, prediction and truth of images: ``picture_page.py CONFIG CHECKPOINT``."""

import argparse
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

from mmseg_wsss.datasets.transforms.load_image import read_image
from mmseg_wsss.models import ToCo
from mmseg_wsss.models.cam import cam_to_label, refined_label
from mmseg_wsss.visualization import PictureRow, picture_page, save_page, without_photos


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config file of a ToCo model')
    parser.add_argument('checkpoint', help='checkpoint file of this config')
    parser.add_argument('--num', type=int, default=8, help='images, spread evenly over the validation (else test) set')
    parser.add_argument('--out', default='page.png', metavar='FILE', help='the PNG to write')
    parser.add_argument(
        '--no-photos', action='store_true', help='maps on white: for photographs that may not be passed on'
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values'
    )
    args = parser.parse_args(argv)
    for name in ('config', 'checkpoint'):
        if not Path(getattr(args, name)).is_file():
            parser.error(f'there is no {name} file {getattr(args, name)}')
    if args.num < 1:
        parser.error('--num must be at least 1')
    return args


def pseudo_label(model: ToCo, sample: SegDataSample, image: np.ndarray) -> torch.Tensor:
    """What the segmentation branch would be trained on: the thresholded CAM, refined where the model has a refiner."""
    cam = sample.cam.data.float()[None]
    if model.refiner is None or 'gt_score' not in sample:
        return cam_to_label(cam, low=model.low, high=model.high)[0]
    unit = torch.from_numpy(image.copy()).to(cam.device).permute(2, 0, 1)[None] / 255
    scores, valid = sample.gt_score.to(cam.device)[None], torch.ones_like(unit[:, 0], dtype=torch.bool)
    return refined_label(cam, unit, scores, model.refiner, low=model.low, high=model.high, valid=valid)[0]


def picture_row(model: ToCo, sample: SegDataSample, classes: list[str]) -> PictureRow:
    """The row of one prediction."""
    image = read_image(sample.img_path)[..., ::-1]  # BGR to RGB
    tags = [classes[index + 1] for index in sample.gt_label.tolist()] if 'gt_label' in sample else []
    return PictureRow(
        image=image,
        cam=sample.cam.data.float().cpu().numpy(),
        pseudo_label=pseudo_label(model, sample, image).cpu().numpy(),
        prediction=sample.pred_sem_seg.data[0].cpu().numpy(),
        truth=sample.gt_sem_seg.data[0].cpu().numpy() if 'gt_sem_seg' in sample else None,
        title=', '.join(tags),
    )


def main(argv: list[str] | None = None) -> None:
    """Predict and draw."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    cfg.model.setdefault('test_cfg', {'mode': 'whole'})
    cfg.model.test_cfg.cam = True
    model = MODELS.build(cfg.model)
    load_checkpoint(model, args.checkpoint, map_location='cpu', strict=True)
    model.to(args.device).eval()
    loader = cfg.get('val_dataloader') or cfg.test_dataloader  # without masks there is nothing to validate against
    dataset = DATASETS.build(loader.dataset)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, args.num).round().astype(int))
    classes = list(dataset.metainfo['classes'])
    rows = []
    for index in chosen:
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([dataset[int(index)]]))[0]
        rows.append(picture_row(model, sample, classes))
    if args.no_photos:
        rows = without_photos(rows)
    save_page(picture_page(rows, classes=classes, palette=dataset.metainfo.get('palette') or ()), args.out)
    print(f'{len(rows)} samples drawn on {args.out}')


if __name__ == '__main__':
    main()
