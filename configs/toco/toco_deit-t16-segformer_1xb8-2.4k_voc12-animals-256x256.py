"""ToCo with SegFormer's MLP decoder on four blocks of the ViT.

Reproduces: nothing published.
Expected:   not run to the end; that the head learns the pseudo-labels is tested.
Time:       not run.
Command:    python tools/train.py configs/toco/toco_deit-t16-segformer_1xb8-2.4k_voc12-animals-256x256.py
"""

_base_ = './toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py'
loss = dict(type='BalancedCrossEntropyLoss', loss_weight=0.1)
model = dict(
    backbone=dict(out_indices=(2, 5, 9, 11)),
    aux_cam_head=dict(in_index=2),
    cam_head=dict(in_index=3),
    decode_head=dict(
        _delete_=True,
        type='SegformerHead',
        in_index=[0, 1, 2, 3],
        channels=128,
        norm_cfg=dict(type='SyncBN'),
        loss_decode=loss,
    ),
)
