"""DuPL, DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256, on a CPU.

Reproduces: nothing published; the recipe of DuPL (CVPR 2024) scaled down. Different from it: half the image size
            (256-pixel crops of images whose longer side is 288 times 0.5-2), 2,400 iterations of 8 images, rate 1e-4,
            training CAMs from scales 1 and 0.5, bfloat16, one threshold for all classes, the corrected form of noise
            filter and consistency, a mixture from 300 pixels on.
Expected:   not run to the end
Time:       not measured; a step takes about 1.8 times the CPU seconds of ToCo's
Command:    CONFIG=configs/dupl/dupl_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/dupl_animals
            python tools/test.py $CONFIG work_dirs/dupl_animals/iter_2400.pth
"""

_base_ = [
    '../_base_/models/dupl_deit-b16.py',
    '../_base_/datasets/voc12_animals_tags.py',
    '../_base_/schedules/toco_20k.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py',
]
crop = 256
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    num_classes=6,
    backbone=dict(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_scales=(1.0, 0.5),
    noise_filter=dict(min_count=300),  # a crop has a third of the published pixels
    # as published, labels are filtered after 40 % of the training; the threshold falls over its rest
    threshold_iters=2000,
    starts=dict(loss_seg=400, threshold=400, noise_filter=1000, loss_consistency=1000),
)

train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(
    type='MultiView',
    geometry=[
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomResize', scale=(288, 288), ratio_range=(0.5, 2.0), resize_type='ResizeToFit'),
        dict(type='RandomPadCrop', crop_size=(crop, crop)),
    ],
    img=_base_.img_view,
    derived=dict(strong_view=[dict(type='StrongPhotometry')]),
)
# The network saw objects of half the native size, so it is shown images of a longer side of 384; results are at
# native size.
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=(384, 384), keep_ratio=True),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (384, 480, 576)]
train_dataloader = dict(batch_size=8, num_workers=1, pin_memory=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 2400
optim_wrapper = dict(type='BF16OptimWrapper', optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=180),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=400, max_keep_ckpts=2),
)
