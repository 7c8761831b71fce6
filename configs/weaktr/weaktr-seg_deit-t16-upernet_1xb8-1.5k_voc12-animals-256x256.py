"""WeakTr's second stage on six VOC classes with UPerNet on a pyramid of four blocks of the ViT.

Reproduces: nothing published; gradient clipping is a loss and works under any decode head.
Expected:   not run to the end; that the head learns and what gradient reaches the backbone is tested.
Time:       not run.
Command:    python tools/train.py configs/weaktr/weaktr-seg_deit-t16-upernet_1xb8-1.5k_voc12-animals-256x256.py
"""

_base_ = './weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py'
loss = dict(type='GradientClippedCrossEntropy', start_value=1.2, patch_size=64)
norm_cfg = dict(type='SyncBN')
model = dict(
    backbone=dict(out_indices=(2, 5, 8, 11)),
    neck=dict(type='Feature2Pyramid', embed_dim=192, rescales=[4, 2, 1, 0.5], norm_cfg=norm_cfg),
    decode_head=dict(
        _delete_=True,
        type='UPerHead',
        in_channels=[192] * 4,
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=128,
        norm_cfg=norm_cfg,
        num_classes=7,
        loss_decode=loss,
    ),
)
