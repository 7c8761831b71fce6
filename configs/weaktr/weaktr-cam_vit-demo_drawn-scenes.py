"""WeakTr's first stage at toy size on drawn scenes: the first training of `make demo METHOD=weaktr`.

Reproduces: nothing published; the steps of WeakTr (arXiv 2304.01184) in a few minutes.
Expected:   see docs/demo.md.
Time:       see docs/demo.md.
Command:    make demo METHOD=weaktr
"""

_base_ = [
    '../_base_/models/weaktr-cam_deit-s16.py',
    '../_base_/datasets/demo_scenes.py',
    '../_base_/schedules/weaktr-cam_60e.py',
    '../_base_/default_runtime.py',
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
        final_norm=False,
        init_cfg=dict(type='Pretrained', checkpoint='demo/tiny_vit.pth'),
    ),
    cam_head=dict(
        # Patches of the tiny ViT attend to the whole scene: spreading the CAM along that attention would blur it.
        patch_attention=False,
        head_weights=dict(reduction=4),
    ),
    # One scale is enough here and makes labelling twice as fast as two.
    cam_scales=(1.0,),
    background_threshold=0.1,
)
train_pipeline = [dict(type='LoadImage'), *_base_.global_view, dict(type='PackWSSSInputs')]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))

max_iters = 300
optim_wrapper = dict(
    type='BF16OptimWrapper',
    optimizer=dict(lr=3e-4),
    # the weights of the attention heads start from nothing and get small gradients
    paramwise_cfg=dict(custom_keys={'cam_head.head_weights': dict(lr_mult=10)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=30, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters + 1)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=50, max_keep_ckpts=2))
