"""MoRe, DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256, on a CPU.

Reproduces: nothing published; the recipe of MoRe (AAAI 2025) scaled down, with the uncertain tokens themselves.
            Different from it: crops of 256, 2,400 iterations of 8 images, rate 1e-4, training CAMs from scales 1 and
            0.5, without the dense energy loss, bfloat16; as ToCo's config for these classes.
Expected:   docs/results/four_methods_voc12-animals.md (of the first 600 iterations)
Time:       docs/performance.md (of an iteration)
Command:    CONFIG=configs/more/more_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/more_animals
            python tools/test.py $CONFIG work_dirs/more_animals/iter_2400.pth
"""

_base_ = [
    '../_base_/models/more_vit-b16.py',
    '../_base_/datasets/voc12_animals_tags.py',
    '../_base_/datasets/more_pipeline.py',
    '../_base_/schedules/more_20k.py',
    '../_base_/default_runtime.py',
    '../_base_/dinov2_affinity.py',
    '../_base_/tta.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    num_classes=6,
    backbone=dict(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_scales=(1.0, 0.5),
    starts=dict(loss_seg=400, loss_reg=400, final_tokens=1200),
    loss_reg=None,
)
train_pipeline = _base_.more_pipeline
train_pipeline[1].scale = 256
# As ToCo's config for these classes: images of a longer side of 384; results are at native size.
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
