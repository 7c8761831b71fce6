"""SeCo, DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256, on a CPU.

Reproduces: nothing published; the recipe of SeCo (CVPR 2024) in its corrected form, scaled down as ToCo's for these
            classes: 256-pixel crops of images whose longer side is 288 times 0.5-2, patches of 48, 2,400 iterations of
            8 images, rate 1e-4, training CAMs from scales 1 and 0.5, bfloat16, a queue of 24 steps, EMA 0.99.
Expected:   not run to the end yet.
Time:       not measured; a step has about twice the encoder passes of ToCo's.
Command:    CONFIG=configs/seco/seco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/seco_animals
            python tools/test.py $CONFIG work_dirs/seco_animals/iter_2400.pth
"""

_base_ = [
    '../_base_/models/seco_vit-b16.py',
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
    projector=dict(momentum=0.99),
    teacher_momentum=0.99,
    memory=dict(length=2304),
    cam_scales=(1.0, 0.5),
    local_crop_size=48,
    starts=dict(prototypes=120, memory=176, loss_lil=200, loss_lig=200, loss_seg=400, loss_reg=400, final_regions=1200),
    loss_reg=None,  # as in ToCo's runs on these classes
)

train_pipeline = _base_.train_pipeline
train_pipeline[1].img = []
train_pipeline[1].geometry[1] = dict(
    type='RandomResize', scale=(288, 288), ratio_range=(0.5, 2.0), resize_type='ResizeToFit'
)
train_pipeline[1].geometry[-1].crop_size = (crop, crop)
train_pipeline[1].free.global_view[0].scale = crop
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
