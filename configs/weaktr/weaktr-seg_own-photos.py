"""WeakTr on your own photos, second stage: Segmenter trained on the masks that the first stage makes.

Reproduces: nothing published; the sizes of weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py, which fit a CPU.
Expected:   not run: it depends on your photos. The masks appear under `work_dirs/own_photos/masks`.
Time:       not run; docs/results/weaktr_voc12-animals.md has that of the config named above
Command:    python tools/run_two_stage.py weaktr-cam_own-photos.py weaktr-seg_own-photos.py \\
                --work-dir work_dirs/own_photos --threshold 0.4
"""

data_root = 'photos'  # as in weaktr-cam_own-photos.py
classes = ('cat', 'dog')
arch = 'deit-tiny'  # or deit-small, deit-base, with their checkpoints (docs/weights.md)
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'  # or the path of a local file
crop = 256  # pixels, a multiple of 64
max_iters = 1500  # of 8 images each

if crop % 64:
    raise ValueError(f'crop is {crop}; it must be a multiple of 64')
# Everything below follows from these values. A config that inherits this one does not change it by setting them anew.
_base_ = [
    'mmseg_wsss::_base_/models/weaktr-seg_deit-s16.py',
    'mmseg_wsss::_base_/datasets/retrain_pipeline.py',
    'mmseg_wsss::_base_/schedules/weaktr-seg_100e.py',
    'mmseg_wsss::_base_/default_runtime.py',
    'mmseg_wsss::_base_/weaktr-seg_tta.py',
]
model = dict(
    # whole patches at test time: a ViT does not see the rest of the border
    data_preprocessor=dict(size=(crop, crop), test_cfg=dict(size_divisor=16)),
    backbone=dict(arch=arch, img_size=crop, init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    decode_head=dict(num_classes=len(classes) + 1, loss_decode=dict(patch_size=crop // 4)),
    test_cfg=dict(_delete_=True, mode='whole'),
)
photos = dict(data_root=data_root, classes=classes)
train_side, test_side = crop * 9 // 8, crop * 3 // 2
retrain_pipeline = _base_.retrain_pipeline
retrain_pipeline[3] = dict(
    type='RandomResize', scale=(train_side, train_side), ratio_range=(0.5, 2.0), resize_type='ResizeToFit'
)
retrain_pipeline[4].crop_size = (crop, crop)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='PseudoMaskDataset',
        mask_dir='work_dirs/own_photos/labels/SegmentationClass',
        data_prefix=dict(img_path='images', ground_truth_path=None),
        pipeline=retrain_pipeline,
        **photos,
    ),
)
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=(test_side, test_side), keep_ratio=True),
    dict(type='PackWSSSInputs'),
]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(test_side * part // 4, test_side * part // 4), keep_ratio=True) for part in (3, 4, 5, 6)
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageTagDataset',
        image_labels=None,  # the network needs no tags
        data_prefix=dict(img_path='images'),
        pipeline=test_pipeline,
        test_mode=True,
        **photos,
    ),
)
test_evaluator = dict(type='MaskWriter', out_dir='work_dirs/own_photos/masks', img_root=f'{data_root}/images')
val_dataloader = val_evaluator = val_cfg = None

optim_wrapper = dict(
    type='BF16OptimWrapper',
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=max(1, max_iters // 15)),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max(1, max_iters // 3), max_keep_ckpts=2))
