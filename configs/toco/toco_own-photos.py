"""ToCo on your own photos and tags: copy this file to any folder and edit the values at its top.

Reproduces: nothing published; the sizes of toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py, which fit a CPU.
Expected:   not run: it depends on your photos. The masks appear under `work_dirs/own_photos/masks`.
Time:       not run; docs/results/toco_voc12-animals.md has that of the config named above
Command:    python tools/train.py toco_own-photos.py --work-dir work_dirs/own_photos
            python tools/test.py toco_own-photos.py work_dirs/own_photos/iter_2000.pth
"""

data_root = 'photos'  # photos/images holds the pictures, sub-folders allowed
tags = 'tags.csv'  # photos/tags.csv: a line "file,tags", then lines like "beach/001.jpg,cat;dog" (or a .json file)
classes = ('cat', 'dog')
arch = 'deit-tiny'  # or deit-small, deit-base, with their checkpoints (docs/weights.md)
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'  # or the path of a local file
crop = 256  # pixels, a multiple of 64
max_iters = 2000  # of 8 images each

if crop % 64:
    raise ValueError(f'crop is {crop}; it must be a multiple of 64')
# Everything below follows from these values. A config that inherits this one does not change it by setting them anew.
_base_ = [
    'mmseg_wsss::_base_/models/toco_vit-b16.py',
    'mmseg_wsss::_base_/datasets/wsss_pipelines.py',
    'mmseg_wsss::_base_/schedules/toco_20k.py',
    'mmseg_wsss::_base_/default_runtime.py',
    'mmseg_wsss::_base_/tta.py',
]
model = dict(
    num_classes=len(classes),
    backbone=dict(arch=arch, init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_scales=(1.0, 0.5),
    local_crop_size=crop // 4,
    starts=dict(loss_seg=max_iters // 6, loss_reg=max_iters // 6),
    test_cfg=dict(cam=False),
)
photos = dict(
    type='ImageTagDataset',
    data_root=data_root,
    classes=classes,
    image_labels=dict(type='TagFile', path=tags),
    data_prefix=dict(img_path='images'),
)
# Photos may be huge: the network sees them at about the size of the crop, the masks have the size of the file.
train_side, test_side = crop * 9 // 8, crop * 3 // 2
train_pipeline = _base_.train_pipeline
train_pipeline[1].geometry[1] = dict(
    type='RandomResize', scale=(train_side, train_side), ratio_range=(0.5, 2.0), resize_type='ResizeToFit'
)
train_pipeline[1].geometry[-1].crop_size = (crop, crop)
train_pipeline[1].free.global_view[0].scale = crop
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline, **photos),
)
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=(test_side, test_side), keep_ratio=True),
    dict(type='PackWSSSInputs'),
]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(test_side * part // 4, test_side * part // 4), keep_ratio=True) for part in (4, 5, 6)
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline, untagged='background', test_mode=True, **photos),
)
test_evaluator = dict(type='MaskWriter', out_dir='work_dirs/own_photos/masks', img_root=f'{data_root}/images')
val_dataloader = val_evaluator = val_cfg = None

optim_wrapper = dict(type='BF16OptimWrapper', optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=max(1, max_iters // 13)),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max(1, max_iters // 4)))
