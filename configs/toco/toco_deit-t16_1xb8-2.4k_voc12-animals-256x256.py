"""ToCo, DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256: a run that two CPU cores finish in about an hour.

Reproduces: nothing published; the recipe of ToCo (CVPR 2023) scaled down. Different from it: half the image size
            (256-pixel crops of images whose longer side is 288 times 0.5-2, local crops of 64), 2,400 iterations of
            8 images, rate 1e-4, training CAMs from scales 1 and 0.5, bfloat16.
Expected:   docs/results/toco_voc12-animals.md
Time:       docs/results/toco_voc12-animals.md
Command:    CONFIG=configs/toco/toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/toco_animals
            python tools/test.py $CONFIG work_dirs/toco_animals/iter_2400.pth
"""

_base_ = [
    '../_base_/models/toco_vit-b16.py',
    '../_base_/animals_2.4k.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    num_classes=6,
    backbone=dict(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_scales=(1.0, 0.5),
    local_crop_size=64,
    starts=dict(loss_seg=400, loss_reg=400),
    loss_reg=None,  # the recorded results were made without it
)
