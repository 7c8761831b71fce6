"""Draw image, CAM, pseudo-label, prediction and truth of val images for WeakTr's two networks.

``weaktr_page.py CAM_CONFIG CAM_CHECKPOINT SEG_CONFIG SEG_CHECKPOINT --labels DIR``; the labels are drawn as
``tools/make_pseudo_labels.py --refine crf-labels`` makes them, with the threshold that DIR was made with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

import mmseg_wsss  # noqa: F401  registers every part
from mmseg_wsss.datasets.transforms import read_image
from mmseg_wsss.models.refiners import refined_label, unit_image
from mmseg_wsss.visualization import PictureRow, picture_page, save_page, without_photos


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    for name in ('cam_config', 'cam_checkpoint', 'seg_config', 'seg_checkpoint'):
        parser.add_argument(name)
    parser.add_argument('--labels', type=Path, required=True, help='folder of the pseudo-labels: their threshold')
    parser.add_argument('--num', type=int, default=8, help='images, spread evenly over the validation set')
    parser.add_argument('--out', default='page.png', metavar='FILE', help='the PNG to write')
    parser.add_argument(
        '--no-photos', action='store_true', help='maps on white: for photographs that may not be passed on'
    )
    return parser.parse_args(argv)


def network(config: str, checkpoint: str) -> tuple[torch.nn.Module, Config]:
    """A trained model for evaluation, and its config."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    return model.eval(), cfg


def pseudo_label(sample: SegDataSample, threshold: float, crf: torch.nn.Module) -> np.ndarray:
    """What ``tools/make_pseudo_labels.py --refine crf-labels`` would write for this image, (H, W)."""
    cam = sample.cam.data.float()
    scores = torch.cat((torch.full_like(cam[:1], threshold), cam))
    ids = torch.cat((torch.zeros(1, dtype=torch.long), sample.gt_label + 1))  # absent classes have no part in the CRF
    image = unit_image(sample.img_path, scores.shape[-2:])
    return refined_label(ids, scores[ids], refiner=crf, image=image)[0].numpy()


@torch.no_grad()
def main(argv: list[str] | None = None) -> None:
    """Predict and draw."""
    args = parse_args(argv)
    cam_model, cam_cfg = network(args.cam_config, args.cam_checkpoint)
    seg_model, seg_cfg = network(args.seg_config, args.seg_checkpoint)
    manifest = json.loads((args.labels / 'manifest.json').read_text(encoding='utf-8'))
    threshold = manifest['found'].get('threshold', manifest['settings']['threshold'])
    crf = MODELS.build({'type': 'LabelCRF'})
    images, shown = (DATASETS.build(cfg.val_dataloader.dataset) for cfg in (cam_cfg, seg_cfg))
    classes = list(images.metainfo['classes'])
    rows = []
    for index in np.unique(np.linspace(0, len(images) - 1, args.num).round().astype(int)):
        sample = cam_model.test_step(pseudo_collate([images[int(index)]]))[0]
        prediction = seg_model.test_step(pseudo_collate([shown[int(index)]]))[0]
        rows.append(
            PictureRow(
                image=read_image(sample.img_path)[..., ::-1],  # BGR to RGB
                cam=sample.cam.data.float().numpy(),
                pseudo_label=pseudo_label(sample, threshold, crf),
                prediction=prediction.pred_sem_seg.data[0].numpy(),
                truth=sample.gt_sem_seg.data[0].numpy(),
                title=', '.join(classes[k + 1] for k in sample.gt_label.tolist()),
            )
        )
    if args.no_photos:
        rows = without_photos(rows)
    save_page(picture_page(rows, classes=classes, palette=images.metainfo.get('palette') or ()), args.out)
    print(f'{len(rows)} samples drawn on {args.out}')


if __name__ == '__main__':
    main()
