"""MoRe, DeiT-Tiny/16, six classes of PASCAL VOC 2012, crops of 256, on a CPU.

Reproduces: nothing published; the recipe of MoRe (AAAI 2025) scaled down, with the uncertain tokens themselves.
            Different from it: crops of 256, 2,400 iterations of 8 images, rate 1e-4, training CAMs from scales 1 and
            0.5, without the dense energy loss, bfloat16; as ToCo's config for these classes.
Expected:   docs/results/four_methods_voc12-animals.md (of the first 600 iterations)
Time:       docs/performance.md (of an iteration)
Command:    CONFIG=configs/more/more_deit-t16_1xb8-2.4k_voc12-animals-256x256.py
            python tools/train.py $CONFIG --work-dir work_dirs/more_animals
            python tools/test.py $CONFIG work_dirs/more_animals/iter_2400.pth
"""

_base_ = [
    '../_base_/models/more_vit-b16.py',
    '../_base_/animals_2.4k.py',
    '../_base_/datasets/more_pipeline.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_tiny_patch16_224-a1311bcf.pth'
model = dict(
    num_classes=6,
    backbone=dict(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_scales=(1.0, 0.5),
    starts=dict(loss_seg=400, loss_reg=400, final_tokens=1200),
    loss_reg=None,
)
train_pipeline = _base_.more_pipeline
train_pipeline[1].scale = 256
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
faster = dict(lr_mult=10)  # as in its schedule, with the graph
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, cam_head=faster, aux_cam_head=faster, graph=faster, decode_head=faster)
    )
)
