"""DuPL, DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256, on a CPU.

Reproduces: nothing published; the recipe of DuPL (CVPR 2024) scaled down. Different from it: half the image size
            (256-pixel crops of images whose longer side is 288 times 0.5-2), 2,400 iterations of 8 images, rate 1e-4,
            training CAMs from scales 1 and 0.5, bfloat16, one threshold for all classes, the corrected form of noise
            filter and consistency, a mixture from 300 pixels on.
Expected:   docs/results/four_methods_voc12-animals.md (of the first 600 iterations)
Time:       docs/performance.md (of an iteration)
Command:    CONFIG=configs/dupl/dupl_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/dupl_animals
            python tools/test.py $CONFIG work_dirs/dupl_animals/iter_2400.pth
"""

_base_ = [
    '../_base_/models/dupl_deit-b16.py',
    '../_base_/animals_2.4k.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    num_classes=6,
    backbone=dict(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_scales=(1.0, 0.5),
    noise_filter=dict(min_count=300),  # a crop has a third of the published pixels
    # as published, labels are filtered after 40 % of the training; the threshold falls over its rest
    threshold_iters=2000,
    starts=dict(loss_seg=400, threshold=400, noise_filter=1000, loss_consistency=1000),
)

train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(
    type='MultiView',
    geometry=train_pipeline[1].geometry,
    img=_base_.img_view,
    derived=dict(strong_view=[dict(type='StrongPhotometry')]),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
