"""WeakTr on your own photos and tags, first stage: copy both files to any folder and edit the values at their tops.

Reproduces: nothing published; the sizes of weaktr-cam_deit-t16_1xb32-588_voc12-animals-224x224.py, which fit a CPU.
Expected:   not run: it depends on your photos.
Time:       not run; docs/results/weaktr_voc12-animals.md has that of the config named above
Command:    python tools/run_two_stage.py weaktr-cam_own-photos.py weaktr-seg_own-photos.py \\
                --work-dir work_dirs/own_photos --threshold 0.4
"""

data_root = 'photos'  # photos/images holds the pictures, sub-folders allowed
tags = 'tags.csv'  # photos/tags.csv: a line "file,tags", then lines like "beach/001.jpg,cat;dog" (or a .json file)
classes = ('cat', 'dog')
arch = 'deit-tiny'  # or deit-small, deit-base, with their checkpoints (docs/weights.md)
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'  # or the path of a local file
crop = 224  # pixels, a multiple of 16
max_iters = 600  # of 32 images each

if crop % 16:
    raise ValueError(f'crop is {crop}; it must be a multiple of 16')
# Everything below follows from these values. A config that inherits this one does not change it by setting them anew.
_base_ = [
    'mmseg_wsss::_base_/models/weaktr-cam_deit-s16.py',
    'mmseg_wsss::_base_/schedules/weaktr-cam_60e.py',
    'mmseg_wsss::_base_/default_runtime.py',
]
model = dict(
    num_classes=len(classes),
    backbone=dict(arch=arch, init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_head=dict(head_weights=dict(reduction=4)),
    background_threshold=0.4,
)
# Photos without tags are learnt as images that show none of the classes.
photos = dict(
    type='ImageTagDataset',
    data_root=data_root,
    classes=classes,
    image_labels=dict(type='TagFile', path=tags),
    data_prefix=dict(img_path='images'),
    untagged='background',
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=crop,
        crop_ratio_range=(0.08, 1.0),
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline, **photos),
)
# Random-resized crops show objects larger than they are, so whole photos enter at a longer side above the crop.
test_side = crop * 12 // 7
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=(test_side, test_side), keep_ratio=True),
    dict(type='PackWSSSInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline, test_mode=True, **photos),
)
test_evaluator = dict(type='MaskWriter', out_dir='work_dirs/own_photos/cam_masks', img_root=f'{data_root}/images')
val_dataloader = val_evaluator = val_cfg = None

optim_wrapper = dict(type='BF16OptimWrapper')
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max(1, max_iters // 4), max_keep_ckpts=2))
