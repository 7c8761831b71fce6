"""WeakTr's second stage at toy size on drawn scenes: the second training of `make demo METHOD=weaktr`.

Reproduces: nothing published; the steps of WeakTr (arXiv 2304.01184) in a few minutes.
Expected:   see docs/demo.md.
Time:       see docs/demo.md.
Command:    make demo METHOD=weaktr
"""

_base_ = [
    '../_base_/models/weaktr-seg_deit-s16.py',
    '../_base_/datasets/demo_scenes.py',
    '../_base_/schedules/weaktr-seg_100e.py',
    '../_base_/default_runtime.py',
    '../_base_/weaktr-seg_tta.py',
]
num_classes, channels, heads, crop_size = 6, 96, 3, (96, 96)
model = dict(
    data_preprocessor=dict(size=crop_size, mean=[127.5] * 3, std=[127.5] * 3, test_cfg=dict(size_divisor=8)),
    backbone=dict(
        _delete_=True,
        type='TokenViT',
        arch=dict(embed_dims=channels, num_layers=8, num_heads=heads, feedforward_channels=384),
        img_size=64,
        patch_size=8,
        init_cfg=dict(type='Pretrained', checkpoint='demo/tiny_vit.pth'),
    ),
    # mmseg's decoder without dropout, by which docs/demo.md was measured
    decode_head=dict(
        type='SegmenterMaskTransformerHead',
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.1,
        in_channels=channels,
        channels=channels,
        embed_dims=channels,
        num_heads=heads,
        num_classes=num_classes + 1,
        loss_decode=dict(patch_size=24),
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
mask_dir = 'work_dirs/demo_weaktr/labels/SegmentationClass'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='LoadGroundTruth'),
    dict(type='RandomResize', scale=(128, 128), ratio_range=(0.8, 1.5), resize_type='ResizeToFit'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    *_base_.photometry,
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        _delete_=True,
        type='PseudoMaskDataset',
        data_root=_base_.data_root,
        classes=_base_.classes,
        mask_dir=mask_dir,
        ann_file='ImageSets/Segmentation/train.txt',
        # the ground-truth masks of the training scenes only serve the log
        data_prefix=dict(img_path='JPEGImages', ground_truth_path='SegmentationClass'),
        pipeline=train_pipeline,
    ),
)

tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [dict(type='Resize', scale_factor=scale, keep_ratio=True) for scale in (1.0, 1.25, 1.5)]

max_iters = 450
optim_wrapper = dict(
    type='BF16OptimWrapper',
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.5))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=45),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters + 1)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=50, max_keep_ckpts=2))
