"""ToCo at toy size on drawn scenes: what `make demo` trains.

Reproduces: the order of ToCo's Table 4 (classifier only < CAM with token contrast), not its figures.
Expected:   see docs/demo.md.
Time:       see docs/demo.md.
Command:    make demo
"""

_base_ = [
    '../_base_/models/toco_vit-b16.py',
    '../_base_/datasets/demo_scenes.py',
    '../_base_/schedules/toco_20k.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py',
]
model = dict(
    num_classes=6,
    # The tiny ViT was trained with mean and std of half the range.
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type='TokenViT',
        arch=dict(embed_dims=96, num_layers=8, num_heads=3, feedforward_channels=384),
        img_size=64,
        patch_size=8,
        out_indices=(5, 7),
        freeze_pos_embed=True,
        init_cfg=dict(type='Pretrained', checkpoint='demo/tiny_vit.pth'),
    ),
    projector=dict(hidden_channels=256, bottleneck_channels=64, out_channels=128),
    refiner=dict(dilations=(1, 2, 4, 8)),
    # One scale is enough for labels here and makes an iteration twice as fast as three scales.
    cam_scales=(1.0,),
    num_local_crops=6,
    local_crop_size=32,
    starts=dict(loss_seg=80, loss_reg=80),
    loss_reg=None,  # the recorded results were made without it
    decode_head=dict(channels=128, dilation=2),
)
max_iters = 250
optim_wrapper = dict(type='BF16OptimWrapper', optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=40),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=50, max_keep_ckpts=2))
