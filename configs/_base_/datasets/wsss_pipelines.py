# Training and test pipelines of ToCo (CVPR 2023): crops of 448 of images scaled by 0.5-2, photometry of DINO; the mask
# is optional at test time. Images are tested at their native size; `squashed_test_pipeline` is the published protocol
# for CAMs and single-scale segmentation.
#
# The pieces have names, so that a config on top changes what it needs:
#   another crop size:      train_pipeline = _base_.train_pipeline
#                           train_pipeline[1].geometry[-1].crop_size = (224, 224)
#                           train_pipeline[1].free.global_view[0].scale = 224
#   one view (classifier):  train_pipeline[1] = dict(type='MultiView', geometry=_base_.geometry, img=_base_.img_view)
#   with masks (the fully supervised counterpart):
#                           [dict(type='LoadImage'), dict(type='LoadMask'), *_base_.geometry, *_base_.img_view,
#                            dict(type='PackWSSSInputs')]
crop_size = (448, 448)
geometry = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomScale', ratio_range=(0.5, 2.0)),
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
    dict(
        type='MultiView',
        geometry=geometry,
        img=img_view,
        free=dict(global_view=global_view),
        aligned=dict(local_view=local_view),
    ),
    dict(type='PackWSSSInputs'),
]
# mmseg's inferencer looks for the loader by this name; in our scope it is LoadImage.
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
# Every image in the size of the crop whatever its shape; scores are compared at the native size.
squashed_test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg_wsss'),
    dict(type='Resize', scale=crop_size, keep_ratio=False),
    dict(type='LoadMask'),
    dict(type='PackWSSSInputs'),
]
