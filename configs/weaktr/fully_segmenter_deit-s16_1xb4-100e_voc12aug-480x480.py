"""Fully supervised counterpart of WeakTr's second stage: Segmenter with DeiT-S/16 on VOC's ground-truth masks.

Reproduces: the fully supervised rows of WeakTr (arXiv 2304.01184), Table 2, Segmenter with DeiT-S.
Expected:   VOC val 79.7, test 79.6 (multi-scale, native sizes). Not run by us.
Time:       not run.
Command:    python tools/train.py configs/weaktr/fully_segmenter_deit-s16_1xb4-100e_voc12aug-480x480.py
"""

_base_ = './weaktr-seg_deit-s16_1xb4-100e_voc12aug-480x480.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(in_channels=384, loss_decode=dict(_delete_=True, type='CrossEntropyLoss')),
)
mask_dir = 'data/VOCdevkit/VOC2012/SegmentationClassAug'
train_dataloader = dict(dataset=dict(mask_dir=mask_dir))
