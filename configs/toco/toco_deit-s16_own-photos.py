"""ToCo on your own photos and tags: copy this file, edit the five lines below it.

Reproduces: nothing published.
Expected:   not run: it depends on your photos. The masks appear under `work_dirs/own_photos/masks`.
Time:       not run.
Command:    python tools/train.py configs/toco/toco_deit-s16_own-photos.py --work-dir work_dirs/own_photos
            python tools/test.py configs/toco/toco_deit-s16_own-photos.py work_dirs/own_photos/iter_4000.pth
"""

data_root = 'photos'  # photos/images holds the pictures, sub-folders allowed
tags = 'tags.csv'  # photos/tags.csv: a line "file,tags", then lines like "beach/001.jpg,cat;dog" (or a .json file)
classes = ('cat', 'dog')
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth'  # or the path of a local file
max_iters = 4000  # of 8 images each

_base_ = [
    '../_base_/models/toco_vit-b16.py',
    '../_base_/datasets/wsss_pipelines.py',
    '../_base_/schedules/toco_20k.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py',
]
channels = 384
model = dict(
    backbone=dict(arch='deit-small', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_head=dict(num_classes=len(classes), in_channels=channels),
    aux_cam_head=dict(num_classes=len(classes), in_channels=channels),
    projector=dict(in_channels=channels),
    decode_head=dict(in_channels=channels, num_classes=len(classes) + 1),
    starts=dict(loss_seg=max_iters // 10, loss_reg=max_iters // 10),
    test_cfg=dict(cam=False),
)
photos = dict(
    type='ImageTagDataset',
    data_root=data_root,
    classes=classes,
    image_labels=dict(type='TagFile', path=tags),
    data_prefix=dict(img_path='images'),
)
# Photos may be huge: the network sees them with a longer side of about 500, the masks have the size of the file.
train_pipeline = _base_.train_pipeline
train_pipeline[1].geometry[1] = dict(
    type='RandomResize', scale=(500, 500), ratio_range=(0.5, 2.0), resize_type='ResizeToFit'
)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline, **photos),
)
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(500, 500), keep_ratio=True),
    dict(type='PackWSSSInputs'),
]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (500, 625, 750)]
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline, test_mode=True, **photos),
)
test_evaluator = dict(type='MaskWriter', out_dir='work_dirs/own_photos/masks', img_root=f'{data_root}/images')
val_dataloader = val_evaluator = val_cfg = None
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=max_iters // 13),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
