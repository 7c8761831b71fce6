"""ToCo with Segmenter's mask transformer as decoder: another mmseg head is one dict.

Reproduces: nothing published.
Expected:   not run to the end; that the head learns the pseudo-labels is tested.
Time:       not run.
Command:    python tools/train.py configs/toco/toco_deit-t16-segmenter_1xb8-2.4k_voc12-animals-256x256.py
"""

_base_ = './toco_deit-t16_1xb8-2.4k_voc12-animals-256x256.py'
loss = dict(type='BalancedCrossEntropyLoss', loss_weight=0.1)
head = dict(type='SegmenterMaskTransformerHead', num_layers=2, num_heads=3, embed_dims=192, dropout_ratio=0.0)
model = dict(
    decode_head=dict(_delete_=True, **head, channels=192, loss_decode=loss),
)
