"""WeakTr's second stage on six VOC classes with mmseg's FCNHead (the LargeFOV decoder of ToCo).

Reproduces: nothing published; gradient clipping is a loss and works under any decode head.
Expected:   not run to the end; that the head learns and what gradient reaches the backbone is tested.
Time:       not run.
Command:    python tools/train.py configs/weaktr/weaktr-seg_deit-t16-fcn_1xb8-1.5k_voc12-animals-256x256.py
"""

_base_ = './weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py'
head = dict(type='FCNHead', num_convs=2, kernel_size=3, dilation=5, concat_input=False, norm_cfg=None, in_index=0)
loss = dict(type='GradientClippedCrossEntropy', start_value=1.2, patch_size=64)
model = dict(
    decode_head=dict(
        _delete_=True, **head, in_channels=192, channels=512, num_classes=7, dropout_ratio=0.0, loss_decode=loss
    ),
)
