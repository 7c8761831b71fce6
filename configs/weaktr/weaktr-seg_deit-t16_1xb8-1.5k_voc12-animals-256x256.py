"""WeakTr's second stage, Segmenter with DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256, on a CPU.

Reproduces: nothing published; the recipe of WeakTr scaled down. Different from it: half the image size (256-pixel
            crops of images whose longer side is 288 times 0.5-2, patches S = 64), 1,500 iterations of 8 images (4
            epochs), and AdamW with warm-up, because the published SGD 1e-4 moves too little in so few iterations;
            the encoder has a tenth of the decoder's rate as published. bfloat16.
Expected:   docs/results/weaktr_voc12-animals.md, measured with an earlier state of this config, which is said there
Time:       docs/results/weaktr_voc12-animals.md
Command:    CONFIG=configs/weaktr/weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/weaktr_animals/seg
            python tools/test.py $CONFIG work_dirs/weaktr_animals/seg/iter_1500.pth
"""

_base_ = [
    '../_base_/models/weaktr-seg_deit-s16.py',
    '../_base_/datasets/voc12_animals_pseudo.py',
    '../_base_/schedules/weaktr-seg_100e.py',
    '../_base_/default_runtime.py',
    '../_base_/weaktr-seg_tta.py',
]
crop_size = (256, 256)
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    # whole patches at test time: a ViT does not see the rest of the border
    data_preprocessor=dict(size=crop_size, test_cfg=dict(size_divisor=16)),
    backbone=dict(arch='deit-tiny', img_size=crop_size[0], init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    decode_head=dict(num_classes=7, loss_decode=dict(patch_size=64)),
    test_cfg=dict(_delete_=True, mode='whole'),
)

retrain_pipeline = _base_.retrain_pipeline
retrain_pipeline[3] = dict(type='RandomResize', scale=(288, 288), ratio_range=(0.5, 2.0), resize_type='ResizeToFit')
retrain_pipeline[4].crop_size = crop_size
# The network saw objects of half the native size, so it is shown images of a longer side of 384; results are at
# native size.
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=(384, 384), keep_ratio=True),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (192, 288, 384, 480, 576, 672)
]
train_dataloader = dict(batch_size=8, num_workers=1, pin_memory=False, dataset=dict(pipeline=retrain_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 1500
optim_wrapper = dict(
    type='BF16OptimWrapper',
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=500, max_keep_ckpts=2),
)
