"""Evaluation of CAMs at 448 x 448, as published ToCo does it, from our pipeline against the tensors it works on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image

from mmseg_wsss.structures import set_image_label

CONFIG = 'configs/toco/toco_deit-b16_1xb4-20k_voc12aug-448x448.py'
SMALL = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48)
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmseg')
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.update(arch=SMALL, out_indices=(1, 2), init_cfg=None)
    for part in (cfg.cam_head, cfg.aux_cam_head, cfg.projector, cfg.decode_head):
        part.in_channels = 24
    cfg.projector.update(hidden_channels=8, bottleneck_channels=8, out_channels=8)
    cfg.decode_head.channels = 8
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    model.backbone.init_weights()
    with torch.no_grad():  # so that what an image shows matters to a network that was never trained
        model.backbone.patch_embed.projection.weight *= 4
    return model


def write_photo(path, size, coarse, *, seed) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, coarse, dtype=np.uint8)
    photo = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC)
    photo.save(path)
    return np.asarray(photo)


def published(model, image: np.ndarray, present: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """CAMs (C, h, w) of the classes present and segmentation logits at the native size."""
    size = image.shape[:2]
    x = (torch.from_numpy(image).permute(2, 0, 1).float() - MEAN) / STD
    x = F.interpolate(x[None], size=(448, 448), mode='bilinear', align_corners=False)
    total = 0
    for scale in (1.0, 0.5, 1.5):
        scaled = F.interpolate(x, size=(int(448 * scale),) * 2, mode='bilinear', align_corners=False)
        straight, mirrored = (
            F.interpolate(model.cam_head.cams(model.backbone(view)), size=(448, 448), mode='bilinear')
            for view in (scaled, scaled.flip(-1))
        )
        total = total + torch.maximum(straight, mirrored.flip(-1)).relu()
    total = total - total.amin((2, 3), keepdim=True)
    total = total / (total.amax((2, 3), keepdim=True) + 1e-5)
    cam = F.interpolate(total, size=size, mode='bilinear', align_corners=False)[0]
    label = torch.zeros(20)
    label[present] = 1
    logits = F.interpolate(model.decode_head(model.backbone(x)), size=size, mode='bilinear', align_corners=False)
    return cam * label[:, None, None], logits[0]


@pytest.mark.parametrize('size', [(375, 500), (333, 251)])
def test_squashed_evaluation_is_the_published_one(model, tmp_path, size):
    image = write_photo(tmp_path / 'photo.png', size, (9, 12, 3), seed=1)
    pipeline = Compose(Config.fromfile(CONFIG).test_dataloader.dataset.pipeline)
    item = pipeline(dict(img_path=str(tmp_path / 'photo.png'), seg_map_path=None))
    set_image_label(item['data_samples'], [3, 11], 20)
    assert item['inputs'].shape == (3, 448, 448)
    with torch.no_grad():
        sample = model.test_step(pseudo_collate([item]))[0]
        cam, logits = published(model, image, [3, 11])
    assert sample.cam.data.shape == cam.shape == (20, *size)
    # OpenCV rounds the image to whole numbers, torch does not
    assert (sample.cam.data - cam).abs().mean() < 2e-3
    ours, theirs = (torch.where(c.amax(0) > 0.5, c.argmax(0) + 1, 0) for c in (sample.cam.data, cam))
    assert (ours == theirs).float().mean() > 0.995
    assert {0, 4, 12} == set(theirs.unique().tolist())
    # our logits are resized in two steps: 28 -> 448 -> native
    assert (sample.seg_logits.data.argmax(0) == logits.argmax(0)).float().mean() > 0.97


@pytest.mark.parametrize('size', [(60, 371), (90, 101)])
def test_three_scales_and_flips_are_the_published_ones(model, tmp_path, size):
    image = write_photo(tmp_path / 'photo.png', size, (7, 9, 3), seed=2)
    cfg = Config.fromfile(CONFIG)
    item = Compose(cfg.tta_pipeline)(dict(img_path=str(tmp_path / 'photo.png'), seg_map_path=None))
    sizes = [tuple(int(side * scale) for side in size) for scale in (1.0, 1.25, 1.5) for _ in range(2)]
    assert [tuple(view.shape[1:]) for view in item['inputs']] == sizes

    x = (torch.from_numpy(image).permute(2, 0, 1).float() - MEAN) / STD
    merged = []
    with torch.no_grad():
        for scaled in sizes[::2]:
            view = F.interpolate(x[None], size=scaled, mode='bilinear', align_corners=False)
            logits = [model.decode_head(model.backbone(one)) for one in (view, view.flip(-1))]
            straight, mirrored = (F.interpolate(one, size=size, mode='bilinear') for one in logits)
            merged.append(straight + mirrored.flip(-1))
        expected = torch.stack(merged).amax(0)[0]
        model.test_cfg.cam = False
        tta = MODELS.build(dict(cfg.tta_model, module=model))
        sample = tta.test_step(pseudo_collate([item]))[0]
        model.test_cfg.cam = True
    error = (sample.seg_logits.data - expected).abs().mean() / expected.std()
    assert error < 0.05, 'images rounded to whole numbers, logits resized in two steps'
    assert (sample.seg_logits.data.argmax(0) == expected.argmax(0)).float().mean() > 0.97


def test_initial_weights_of_the_decoder_are_pytorchs(model):
    torch.manual_seed(0)
    model.decode_head.init_weights()
    convs = [part for part in model.decode_head.modules() if isinstance(part, torch.nn.Conv2d)]
    assert len(convs) == 3
    for conv in convs:
        bound = conv.weight[0].numel() ** -0.5
        assert conv.weight.abs().max() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.08)
        assert conv.bias.abs().max() == 0
