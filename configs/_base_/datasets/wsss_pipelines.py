# Training and test pipelines of ToCo (CVPR 2023) for crops of 448.
# Random scale 0.5-2 is relative to images whose longer side is 500, which is the native size of PASCAL VOC's.
#
# The pieces have names, so that a config changes what it needs and puts `train_pipeline` together again:
#   classifier only, one view:  train_pipeline = _base_.train_pipeline; train_pipeline[1] = dict(type='MultiView', geometry=_base_.geometry, img=_base_.img_view)
#   another crop size:          _base_.train_pipeline[1].geometry[-1].crop_size = (224, 224); _base_.train_pipeline[1].global_view[0].scale = 224
crop_size = (448, 448)
geometry = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(500, 500), ratio_range=(0.5, 2.0), resize_type='ResizeToFit', backend='pillow'),
    dict(type='RandomPadCrop', crop_size=crop_size),
]
img_view = [dict(type='DINOPhotometry', blur_prob=1.0)]
global_view = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=crop_size[0],
        crop_ratio_range=(0.4, 1.0),
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='DINOPhotometry', blur_prob=0.1, solarize_prob=0.2),
]
local_view = [dict(type='DINOPhotometry', blur_prob=0.5)]

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='MultiView', geometry=geometry, img=img_view, global_view=global_view, local_view=local_view),
    dict(type='PackWSSSInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
