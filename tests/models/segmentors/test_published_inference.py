"""Test pipelines of WeakTr's published second stage against a slow reference, from the file to the probabilities.

The reference: the image in 8 bits with a shorter side of 520 r (the longer at most 4160 r); normalised; where the
shorter side is below the window of 480, enlarged to it; windows of 480 every 320 pixels, the last one flush with the
border; the mean of the logits of the windows at a pixel, resized to the image, then the softmax; the mean over the
scales and flips.
"""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image

from mmseg_wsss.datasets.transforms import read_image

CONFIGS = Path(__file__).parents[3] / 'configs' / 'weaktr'
NAMES = (
    'weaktr-seg_deit-s16_1xb4-100e_voc12aug-480x480',
    'fully_segmenter_vit-s16-augreg-384_1xb4-100e_voc12aug-480x480',
)
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
SIZES = [(375, 500), (611, 853), (170, 300)]
THIN = (50, 450)  # 520 x 4680 would be too long: 462 x 4160, then 480 x 4322
ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)


@pytest.fixture(scope='module', params=NAMES)
def cfg(request) -> Config:
    init_default_scope('mmseg')
    cfg = Config.fromfile(CONFIGS / f'{request.param}.py')
    cfg.model.backbone.update(arch=ARCH, init_cfg=None)
    cfg.model.decode_head.update(in_channels=24, channels=24, embed_dims=24, num_heads=2, num_classes=5)
    return cfg


def network(cfg: Config) -> torch.nn.Module:
    """Random weights, large enough that every class has its pixels."""
    model = MODELS.build(copy.deepcopy(cfg.model)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.5 if 'emb' in name.split('.')[1] else weight[0].numel() ** -0.5)
            if 'mask_norm.weight' in name:
                weight.fill_(3)
    return model


@pytest.fixture(params=SIZES, ids=lambda size: 'x'.join(map(str, size)))
def photo(request, tmp_path) -> str:
    height, width = request.param
    small = np.random.default_rng(3).integers(0, 256, (height // 25 + 2, width // 25 + 2, 3), dtype=np.uint8)
    path = tmp_path / 'photo.png'
    Image.fromarray(small).resize((width, height), Image.BICUBIC).save(path)
    return str(path)


def resized(image: np.ndarray, ratio: float) -> np.ndarray:
    height, width = image.shape[:2]
    factor = min(int(4160 * ratio) / max(height, width), int(520 * ratio) / min(height, width))
    return cv2.resize(image, (int(width * factor + 0.5), int(height * factor + 0.5)), interpolation=cv2.INTER_LINEAR)


def starts(side: int) -> list[int]:
    return [start for start in range(0, side, 320) if start < side - 480] + [side - 480]


@torch.no_grad()
def reference(model: torch.nn.Module, path: str, *, ratios: tuple[float, ...], flips: tuple[bool, ...]) -> torch.Tensor:
    image = read_image(path)
    total = 0.0
    for ratio in ratios:
        for flip in flips:
            rgb = torch.from_numpy(resized(image, ratio)[..., ::-1].copy()).permute(2, 0, 1).float()
            own = model.data_preprocessor
            pixels = ((rgb - own.mean) / own.std)[None]
            if flip:
                pixels = pixels.flip(3)
            height, width = pixels.shape[2:]
            if min(height, width) < 480:
                size = [
                    480 if side == min(height, width) else int(side / min(height, width) * 480)
                    for side in (height, width)
                ]
                pixels = F.interpolate(pixels, size, mode='bilinear', align_corners=False)
            height, width = pixels.shape[2:]
            sums, counts = torch.zeros(1, 5, height, width), torch.zeros(1, 1, height, width)
            for top in starts(height):
                for left in starts(width):
                    window = pixels[:, :, top : top + 480, left : left + 480]
                    assert window.shape[2:] == (480, 480)
                    maps = model.decode_head.forward(model.backbone(window))
                    assert maps.shape[2:] == (30, 30)
                    sums[:, :, top : top + 480, left : left + 480] += F.interpolate(maps, (480, 480), mode='bilinear')
                    counts[:, :, top : top + 480, left : left + 480] += 1
            logits = F.interpolate(sums / counts, image.shape[:2], mode='bilinear')
            if flip:
                logits = logits.flip(3)
            total = total + logits[0].softmax(dim=0)
    return total / (len(ratios) * len(flips))


def compare(found, expected: torch.Tensor) -> None:
    labels = expected.argmax(dim=0)
    assert sum((labels == k).float().mean() > 0.01 for k in range(5)) >= 2, 'one class: labels would agree anyway'
    assert (found.pred_sem_seg.data[0] == labels).float().mean() >= 0.999
    torch.testing.assert_close(found.seg_logits.data.softmax(dim=0), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('name', ['weaktr-seg_deit-s16_1xb4-10e_coco14-480x480', *NAMES])
def test_all_configs_have_the_pipelines_that_are_compared_here(name):
    compared, other = (Config.fromfile(CONFIGS / f'{each}.py') for each in (NAMES[0], name))
    assert other.tta_pipeline == compared.tta_pipeline
    assert other.model.test_cfg == compared.model.test_cfg
    for loader in (other.val_dataloader, other.test_dataloader):
        assert loader.dataset.pipeline == compared.test_dataloader.dataset.pipeline


@pytest.mark.parametrize('photo', [*SIZES, THIN], indirect=True, ids=lambda size: 'x'.join(map(str, size)))
def test_single_scale(cfg, photo):
    model = network(cfg)
    data = Compose(cfg.test_dataloader.dataset.pipeline)(dict(img_path=photo, seg_map_path=None))
    with torch.no_grad():
        (found,) = model.test_step(pseudo_collate([data]))
    compare(found, reference(model, photo, ratios=(1.0,), flips=(False,)))


def test_six_scales_with_flips(cfg, photo):
    model = network(cfg)
    data = Compose(cfg.tta_pipeline)(dict(img_path=photo, seg_map_path=None))
    assert len(data['inputs']) == 12
    tta = MODELS.build(dict(cfg.tta_model, module=model)).eval()
    with torch.no_grad():
        (found,) = tta.test_step(pseudo_collate([data]))
    compare(found, reference(model, photo, ratios=RATIOS, flips=(False, True)))
