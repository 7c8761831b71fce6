"""ToCo, SeCo and both stages of WeakTr with every loss at toy size on eight drawn images, as configs for the Runner."""

import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

CLASSES = ('red', 'green', 'blue')
MODEL = {
    'type': 'ToCo',
    'data_preprocessor': {
        'type': 'WSSSDataPreProcessor',
        'mean': [120.0, 120.0, 120.0],
        'std': [60.0, 60.0, 60.0],
        'bgr_to_rgb': True,
        'pad_val': 0,
        'seg_pad_val': 255,
        'size': (64, 64),
    },
    'backbone': {
        'type': 'TokenViT',
        'arch': {'embed_dims': 24, 'num_layers': 3, 'num_heads': 2, 'feedforward_channels': 48},
        'img_size': 64,
        'patch_size': 8,
        'out_indices': (1, 2),
    },
    'cam_head': {'type': 'ClsCAMHead', 'num_classes': 3, 'in_channels': 24, 'in_index': 1},
    'aux_cam_head': {'type': 'ClsCAMHead', 'num_classes': 3, 'in_channels': 24, 'in_index': 0},
    'projector': {
        'type': 'EMAProjector',
        'in_channels': 24,
        'hidden_channels': 32,
        'bottleneck_channels': 16,
        'out_channels': 24,
    },
    'loss_ptc': {'type': 'PatchTokenContrastLoss'},
    'loss_ctc': {'type': 'ClassTokenContrastLoss'},
    'refiner': {'type': 'PAR', 'num_iter': 2, 'dilations': (1, 2)},
    'loss_reg': {'type': 'DenseEnergyLoss', 'weight': 1e-5, 'loss_weight': 0.1},
    # most of a random CAM is background then, so that some local crops are negative
    'cam_thresholds': (0.8, 0.9),
    'num_local_crops': 4,
    'local_crop_size': 24,
    'starts': {'loss_seg': 2, 'loss_reg': 2},
    'decode_head': {
        'type': 'FCNHead',
        'in_channels': 24,
        'in_index': 1,
        'channels': 16,
        'num_convs': 1,
        'concat_input': False,
        'dropout_ratio': 0.1,
        'norm_cfg': None,
        'num_classes': 4,
        'align_corners': False,
        'loss_decode': {'type': 'BalancedCrossEntropyLoss', 'loss_weight': 0.1},
    },
    'test_cfg': {'mode': 'whole', 'cam': True},
}
SECO = {
    **{key: value for key, value in MODEL.items() if key not in ('loss_ctc', 'local_crop_size')},
    'type': 'SeCo',
    'num_classes': 3,
    'projector': {'type': 'EMAProjector', 'momentum': 0.9, 'hidden_channels': 32},
    'teacher_momentum': 0.9,
    'memory': {'length': 60, 'momentum': 0.8},  # two batches of four images and a half
    'loss_lil': {'type': 'MemoryContrastLoss', 'temperature': 0.5, 'loss_weight': 0.1},
    'loss_lig': {'type': 'PrototypeContrastLoss', 'temperature': 0.5, 'loss_weight': 0.1},
    'cam_thresholds': (0.3, 0.6),
    'local_crop_size': 24,
    'starts': {'prototypes': 1, 'loss_lil': 1, 'loss_lig': 2, 'loss_seg': 2, 'loss_reg': 2},
    'decode_head': {
        'type': 'AtrousSumHead',
        'in_index': 1,
        'dilations': (1, 2),
        'loss_decode': {'type': 'BalancedCrossEntropyLoss', 'loss_weight': 0.1},
    },
}
STAGE1 = {
    'type': 'WeakTr',
    'data_preprocessor': MODEL['data_preprocessor'],
    'backbone': MODEL['backbone']
    | {'num_cls_tokens': 3, 'out_indices': (2,), 'final_norm': False, 'drop_path_rate': 0.2},
    'cam_head': {
        'type': 'AAFCAMHead',
        'num_classes': 3,
        'in_channels': 24,
        'fine_scale': 1000.0,  # so that the head weights move in six iterations
        'head_weights': {
            'type': 'OutputPooledWeights',
            'num_blocks': 3,
            'num_heads': 2,
            'head_dims': 12,
            'reduction': 2,
        },
    },
    'cam_scales': (1.0,),
    'test_cfg': {'cam': True},
}
STAGE2 = {
    'type': 'OnlineRetraining',
    'data_preprocessor': MODEL['data_preprocessor'],
    'backbone': MODEL['backbone'] | {'out_indices': (2,)},
    'decode_head': MODEL['decode_head']
    | {
        'in_index': 0,
        'loss_decode': {'type': 'GradientClippedCrossEntropy', 'start_value': 100.0, 'patch_size': 16},
    },
    'test_cfg': {'mode': 'whole'},
}
GEOMETRY = [
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'RandomResize', 'scale': (64, 64), 'ratio_range': (0.7, 1.5), 'keep_ratio': True},
    {'type': 'RandomPadCrop', 'crop_size': (64, 64)},
]
PHOTOMETRY = [{'type': 'DINOPhotometry', 'blur_prob': 0.5}]


def _draw_images(root) -> None:
    """Eight noisy images with one or two coloured squares, their tags and masks."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    tags = {}
    for number in range(8):
        image = rng.integers(80, 160, (64, 64, 3), dtype=np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        for index, corner in zip(rng.permutation(3)[: 1 + number % 2], ((4, 4), (34, 30)), strict=False):
            window = tuple(slice(start, start + int(rng.integers(16, 28))) for start in corner)
            image[window] = np.where(np.arange(3) == index, 230, 30)
            mask[window] = index + 1
        name = f'{number}.png'
        Image.fromarray(image).save(root / 'images' / name)
        Image.fromarray(mask).save(root / 'masks' / name)
        tags[name] = [CLASSES[index - 1] for index in np.unique(mask) if index]
    (root / 'tags.json').write_text(json.dumps(tags))


def _loader(root, pipeline: list[dict], *, batch_size: int, sampler: dict, test_mode: bool) -> dict:
    return {
        'batch_size': batch_size,
        'num_workers': 0,
        'sampler': sampler,
        'dataset': {
            'type': 'ImageTagDataset',
            'data_root': str(root),
            'classes': CLASSES,
            'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'},
            'image_labels': {'type': 'TagFile', 'path': 'tags.json'},
            'pipeline': pipeline,
            'test_mode': test_mode,
        },
    }


def toco_config(folder: Path) -> Config:
    """A fresh config for six iterations; validates and saves every second one, draws in data and model.

    Args:
        folder: where data, losses and checkpoints go; the images are drawn at the first call.
    """
    torch.set_num_threads(1)
    root = folder / 'data'
    if not root.exists():
        _draw_images(root)
    views = {'type': 'MultiView', 'geometry': GEOMETRY, 'img': PHOTOMETRY}
    views |= {'aligned': {'local_view': PHOTOMETRY}, 'free': {'global_view': [*GEOMETRY, *PHOTOMETRY]}}
    train_pipeline = [{'type': 'LoadImage'}, views, {'type': 'PackWSSSInputs'}]
    test_pipeline = [{'type': 'LoadImage'}, {'type': 'LoadMask'}, {'type': 'PackWSSSInputs'}]
    infinite, once = {'type': 'InfiniteSampler', 'shuffle': True}, {'type': 'DefaultSampler', 'shuffle': False}
    cfg = Config(
        {
            'default_scope': 'mmseg',
            'custom_imports': {'imports': ['mmseg_wsss', 'loss_recorder'], 'allow_failed_imports': False},
            'model': MODEL,
            'train_dataloader': _loader(root, train_pipeline, batch_size=2, sampler=infinite, test_mode=False),
            'val_dataloader': _loader(root, test_pipeline, batch_size=1, sampler=once, test_mode=True),
            'val_evaluator': {'type': 'CAMIoUMetric'},
            'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 6, 'val_interval': 2},
            'val_cfg': {'type': 'ValLoop'},
            'optim_wrapper': {
                'type': 'OptimWrapper',
                'constructor': 'SummaryOptimWrapperConstructor',
                'optimizer': {'type': 'AdamW', 'lr': 1e-3},
            },
            'param_scheduler': [{'type': 'PolyLR', 'power': 0.9, 'by_epoch': False, 'begin': 0, 'end': 6}],
            'default_hooks': {'checkpoint': {'type': 'WholeCheckpointHook', 'by_epoch': False, 'interval': 3}},
            'custom_hooks': [
                {'type': 'IterationSeedHook'},
                {'type': 'RecordLosses', 'folder': str(folder / 'losses')},
            ],
            'find_unused_parameters': True,
            'log_processor': {'by_epoch': False},
            'log_level': 'ERROR',
            'randomness': {'seed': 3},
            'work_dir': str(folder / 'work'),
        }
    )
    cfg.val_dataloader.dataset.indices = 2
    return cfg


def seco_config(folder: Path) -> Config:
    """The same for SeCo with every loss."""
    cfg = toco_config(folder)
    cfg.model = SECO
    return cfg


def stage1_config(folder: Path) -> Config:
    """The same for WeakTr's first stage: one view, drop path."""
    cfg = toco_config(folder)
    cfg.model = STAGE1
    loading, packing = {'type': 'LoadImage'}, {'type': 'PackWSSSInputs'}
    cfg.train_dataloader.dataset.pipeline = [loading, *GEOMETRY, *PHOTOMETRY, packing]
    return cfg


def stage2_config(folder: Path) -> Config:
    """The same for WeakTr's second stage, the ground-truth masks in the place of pseudo-masks."""
    cfg = toco_config(folder)
    cfg.model = STAGE2
    train = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = {
        'type': 'PseudoMaskDataset',
        'data_root': train.data_root,
        'classes': CLASSES,
        'data_prefix': {'img_path': 'images'},
        'mask_dir': f'{train.data_root}/masks',
        'pipeline': [
            {'type': 'LoadImage'},
            {'type': 'LoadMask'},
            *GEOMETRY,
            *PHOTOMETRY,
            {'type': 'PackWSSSInputs'},
        ],
    }
    return cfg


WHOLE_IMAGE = [{'type': 'RandomPadCrop', 'crop_size': (64, 64)}]


def without_draws(cfg: Config) -> Config:
    """Five iterations whose draws are the same in one process and in several: whole images, no dropout or drop path.

    Every position of a local crop is drawn once. Plain gradient descent: Adam divides by the gradient's size and would
    blow rounding errors up.
    """
    pipeline = cfg.train_dataloader.dataset.pipeline
    if cfg.model.type in ('ToCo', 'SeCo'):
        pipeline[1].update(geometry=WHOLE_IMAGE, img=[], aligned={'local_view': []}, free={'global_view': WHOLE_IMAGE})
        cfg.model.update(local_crop_size=62, num_local_crops=4)
    else:
        kept = ('LoadImage', 'LoadMask', 'PackWSSSInputs')
        cfg.train_dataloader.dataset.pipeline = [step for step in pipeline if step.type in kept]
        cfg.model.backbone.drop_path_rate = 0.0
    if cfg.model.get('decode_head', {}).get('type') == 'FCNHead':
        cfg.model.decode_head.dropout_ratio = 0.0
    cfg.optim_wrapper.optimizer = {'type': 'SGD', 'lr': 0.1}
    cfg.train_cfg.update(max_iters=5, val_interval=100)
    return cfg
