"""SeCo, DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256, on a CPU.

Reproduces: nothing published; the recipe of SeCo (CVPR 2024) in its corrected form, scaled down as ToCo's for these
            classes: 256-pixel crops of images whose longer side is 288 times 0.5-2, patches of 48, 2,400 iterations of
            8 images, rate 1e-4, training CAMs from scales 1 and 0.5, bfloat16, a queue of 24 steps, EMA 0.99.
Expected:   docs/results/four_methods_voc12-animals.md (of the first 600 iterations)
Time:       docs/performance.md (of an iteration)
Command:    CONFIG=configs/seco/seco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/seco_animals
            python tools/test.py $CONFIG work_dirs/seco_animals/iter_2400.pth
"""

_base_ = [
    '../_base_/models/seco_vit-b16.py',
    '../_base_/animals_2.4k.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    num_classes=6,
    backbone=dict(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    projector=dict(momentum=0.99),
    teacher_momentum=0.99,
    memory=dict(length=2304),
    cam_scales=(1.0, 0.5),
    local_crop_size=48,
    starts=dict(prototypes=120, memory=176, loss_lil=200, loss_lig=200, loss_seg=400, loss_reg=400, final_regions=1200),
    loss_reg=None,  # as in ToCo's runs on these classes
)
train_pipeline = _base_.train_pipeline
train_pipeline[1].img = []
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
