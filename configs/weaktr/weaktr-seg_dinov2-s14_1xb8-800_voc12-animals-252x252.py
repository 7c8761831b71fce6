"""WeakTr's second stage with DINOv2 ViT-S/14, six classes of PASCAL VOC 2012, crops of 252, on a CPU.

Reproduces: nothing published; weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py with the encoder of
            weaktr-seg_dinov2-s14_1xb4-100e_voc12aug-476x476.py: crops of 18 patches (S = 63), 800 iterations, which
            cost a CPU twice as much as the 1,500 there. DINOv2's training images were retrieved partly with VOC's as
            queries.
Expected:   not run
Time:       not run
Command:    python tools/train.py configs/weaktr/weaktr-seg_dinov2-s14_1xb8-800_voc12-animals-252x252.py
"""

_base_ = './weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py'
crop_size = (252, 252)
checkpoint = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth'
model = dict(
    data_preprocessor=dict(size=crop_size, test_cfg=dict(size_divisor=14)),
    backbone=dict(
        arch='deit-small',
        img_size=crop_size[0],
        patch_size=14,
        layer_scale_init_value=1e-5,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    decode_head=dict(loss_decode=dict(patch_size=63)),
)
retrain_pipeline = _base_.retrain_pipeline
retrain_pipeline[4].crop_size = crop_size
train_dataloader = dict(dataset=dict(pipeline=retrain_pipeline))

max_iters = 800
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=200))
