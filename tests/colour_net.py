"""A network whose CAMs are the red, green and blue of the image, and a small data set for it.

What the labels must be can be read off the pixels: class k (id k + 1) where colour k is the strongest and above the
threshold.
"""

import json
from pathlib import Path

import numpy as np
import torch
from mmseg.models import BaseSegmentor, EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from mmseg_wsss.models import CAMSegmentor

CLASSES = ('red', 'green', 'blue')
CONFIG = """
default_scope = 'mmseg'
custom_imports = dict(imports=['mmseg_wsss', 'colour_net'], allow_failed_imports=False)
model = dict(
    type={model!r},
    data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True),
)
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageTagDataset', data_root={root!r}, classes=('red', 'green', 'blue'), ann_file='val.txt',
        serialize_data=False,  # saves a garbage collection, most of the time of a test
        data_prefix=dict(img_path='images', seg_map_path='masks'), image_labels=dict(type='TagFile', path='tags.json'),
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackWSSSInputs')],
    ),
)
tta_model = dict(type='MeanSoftmaxTTA')
tta_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadMask')],
            [dict(type='PackWSSSInputs')],
        ],
    ),
]
"""


@MODELS.register_module()
class ColourSegmentor(EncoderDecoder):
    """Logits: 1 for background, 2 * colour for the classes."""

    def __init__(self, data_preprocessor: dict, test_cfg: dict | None = None) -> None:
        BaseSegmentor.__init__(self, data_preprocessor=data_preprocessor)
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        self.test_cfg = test_cfg
        self.align_corners = False
        self.out_channels = 4

    def inference(self, inputs: torch.Tensor, batch_img_metas: list[dict]) -> torch.Tensor:
        return torch.cat((torch.ones_like(inputs[:, :1]), 2 * self.mix(inputs)), dim=1)


@MODELS.register_module()
class ColourCAM(CAMSegmentor, ColourSegmentor):
    """With CAMs: the colours."""

    def cams(self, images: torch.Tensor, *, maps: object = None) -> dict[str, torch.Tensor]:
        return dict(colour=self.mix(images))

    def predict(self, inputs: torch.Tensor, data_samples: list[SegDataSample]) -> list[SegDataSample]:
        samples = super().predict(inputs, data_samples)
        if self.test_cfg['cam']:
            self.add_cams(samples, self.original_cams(self.cams(inputs), data_samples))
        return samples


def make_data(root: Path, *, count: int = 6, side: int = 24) -> Path:
    """Noise images ``0.png`` .. in two sub-folders, tags, split lists, masks of ``val.txt`` only, two configs."""
    rng = np.random.default_rng(0)
    tags, names = {}, []
    for number in range(count):
        name = f'{"ab"[number % 2]}/{number}'
        names.append(name)
        image = rng.integers(0, 256, (side + number % 2, side, 3), dtype=np.uint8)
        for folder in ('images', 'masks'):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / 'images' / f'{name}.png')
        tags[f'{name}.png'] = [CLASSES[number % 3], CLASSES[(number + 1) % 3]]
    (root / 'tags.json').write_text(json.dumps(tags))
    half = count // 2
    (root / 'train.txt').write_text('\n'.join(names[:half]) + '\n')
    (root / 'val.txt').write_text('\n'.join(names[half:]) + '\n')
    for name in names[half:]:  # what a threshold of 0.37 and no other multiple of 0.01 gives: 94/255 < 0.37 < 95/255
        Image.fromarray(expected(root, name, 0.37)).save(root / 'masks' / f'{name}.png')
    for model in ('ColourCAM', 'ColourSegmentor'):
        (root / f'{model}.py').write_text(CONFIG.format(root=str(root), model=model))
    torch.save({'state_dict': {'mix.weight': torch.eye(3)[:, :, None, None]}, 'meta': {}}, root / 'net.pth')
    return root


def masked_cams(root: Path, name: str, *, mask_by_labels: bool = True) -> np.ndarray:
    """The CAMs (3, H, W) of an image."""
    cams = np.array(Image.open(root / 'images' / f'{name}.png')).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    tags = json.loads((root / 'tags.json').read_text())[f'{name}.png']
    return cams * np.array([not mask_by_labels or kind in tags for kind in CLASSES], np.float32)[:, None, None]


def expected(root: Path, name: str, threshold: float, *, mask_by_labels: bool = True) -> np.ndarray:
    """The labels of an image by its pixels."""
    cams = masked_cams(root, name, mask_by_labels=mask_by_labels)
    return np.where(cams.max(axis=0) > np.float32(threshold), cams.argmax(axis=0) + 1, 0).astype(np.uint8)


def masks(out: Path) -> dict[str, np.ndarray]:
    """The masks in an output folder by name."""
    root = out / 'SegmentationClass'
    files = sorted(root.rglob('*.png'))
    return {path.relative_to(root).with_suffix('').as_posix(): np.array(Image.open(path)) for path in files}
