"""WeakTr's second stage on six VOC classes with SegFormer's MLP decoder on four blocks of the ViT.

Reproduces: nothing published; gradient clipping is a loss and works under any decode head.
Expected:   not run to the end; that the head learns and what gradient reaches the backbone is tested.
Time:       not run.
Command:    python tools/train.py configs/weaktr/weaktr-seg_deit-t16-segformer_1xb8-1.5k_voc12-animals-256x256.py
"""

_base_ = './weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py'
loss = dict(type='GradientClippedCrossEntropy', start_value=1.2, patch_size=64)
model = dict(
    backbone=dict(out_indices=(2, 5, 8, 11)),
    decode_head=dict(
        _delete_=True,
        type='SegformerHead',
        in_channels=[192] * 4,
        in_index=[0, 1, 2, 3],
        channels=128,
        norm_cfg=dict(type='SyncBN'),
        num_classes=7,
        loss_decode=loss,
    ),
)
