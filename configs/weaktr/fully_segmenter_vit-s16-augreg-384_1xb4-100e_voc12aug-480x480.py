"""Fully supervised counterpart of WeakTr's second stage: Segmenter with ViT-S/16 AugReg on VOC's ground-truth masks.

Reproduces: the fully supervised rows of WeakTr (arXiv 2304.01184), Table 2, Segmenter with ViT-S.
Expected:   VOC val 82.6, test 83.1 (multi-scale, native sizes). Not run by us.
Time:       not run.
Command:    python tools/train.py configs/weaktr/fully_segmenter_vit-s16-augreg-384_1xb4-100e_voc12aug-480x480.py
"""

_base_ = './weaktr-seg_vit-s16-augreg-384_1xb4-100e_voc12aug-480x480.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(in_channels=384, loss_decode=dict(_delete_=True, type='CrossEntropyLoss')),
)
mask_dir = 'data/VOCdevkit/VOC2012/SegmentationClassAug'
train_dataloader = dict(dataset=dict(mask_dir=mask_dir))
