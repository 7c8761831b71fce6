# Single-stage runs on six classes of PASCAL VOC 2012 for two CPU cores: crops of 256 of images whose longer side is 288
# times 0.5-2, 2,400 iterations of 8 images, rate 1e-4, bfloat16; DeiT-Tiny comes from the method's config.
_base_ = [
    './datasets/voc12_animals_tags.py',
    './schedules/toco_20k.py',
    './default_runtime.py',
    './dinov2_affinity.py',
    './tta.py',
]
crop = 256
train_pipeline = _base_.train_pipeline
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
