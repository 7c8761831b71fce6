"""Fully supervised counterpart of DINOv2 ViT-S/14 on six VOC classes, same budget, ground-truth masks.

Reproduces: nothing published; the upper bound beside weaktr-seg_dinov2-s14_1xb8-800_voc12-animals-252x252.py, without
            gradient clipping.
Expected:   not run
Time:       not run
Command:    python tools/train.py configs/weaktr/fully_segmenter_dinov2-s14_1xb8-800_voc12-animals-252x252.py
"""

_base_ = './weaktr-seg_dinov2-s14_1xb8-800_voc12-animals-252x252.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(in_channels=384, loss_decode=dict(_delete_=True, type='CrossEntropyLoss')),
)
mask_dir = 'data/VOCdevkit/VOC2012/SegmentationClassAnimals'
train_dataloader = dict(dataset=dict(mask_dir=mask_dir, data_prefix=dict(ground_truth_path=None)))
