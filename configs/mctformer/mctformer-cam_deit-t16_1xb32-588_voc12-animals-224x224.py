"""MCTformer+, first stage, DeiT-Tiny/16, six classes of PASCAL VOC 2012, on a CPU.

Reproduces: nothing published; the recipe of MCTformer+ (arXiv 2308.03005) scaled down. Different from it: DeiT-Tiny,
            crops of 224, 588 iterations of 32 images (6 epochs), crop and flip without RandAugment and erasing, the
            rate of WeakTr's config for the same images (7.5e-5) with a cosine from the first iteration, bfloat16.
Expected:   docs/results/four_methods_voc12-animals.md
Time:       docs/performance.md (of an iteration)
Command:    CONFIG=configs/mctformer/mctformer-cam_deit-t16_1xb32-588_voc12-animals-224x224.py
            python tools/train.py $CONFIG --work-dir work_dirs/mctformer_animals/cam
            python tools/test.py $CONFIG work_dirs/mctformer_animals/cam/iter_588.pth
"""

_base_ = [
    '../_base_/models/mctformer_deit-s16.py',
    '../_base_/datasets/voc12_animals_tags.py',
    '../_base_/schedules/mctformer_45e.py',
    '../_base_/default_runtime.py',
    '../_base_/dinov2_affinity.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    num_classes=6,
    backbone=dict(arch='deit-tiny', img_size=224, init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
)

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.08, 1.0),
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
# Random-resized crops showed objects at about three quarters of their native size, so images enter at a longer side of
# 384; results are at native size.
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=(384, 384), keep_ratio=True),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(batch_size=32, num_workers=1, pin_memory=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 588
optim_wrapper = dict(type='BF16OptimWrapper', optimizer=dict(lr=7.5e-5))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters + 1)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=98, max_keep_ckpts=2))
