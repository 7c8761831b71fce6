"""Fully supervised counterpart of WeakTr's second stage on six VOC classes, same budget, ground-truth masks.

Reproduces: nothing published; the upper bound beside weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py, without
            gradient clipping.
Expected:   docs/results/weaktr_voc12-animals.md
Time:       docs/results/weaktr_voc12-animals.md
Command:    python tools/train.py configs/weaktr/fully_segmenter_deit-t16_1xb8-1.5k_voc12-animals-256x256.py
"""

_base_ = './weaktr-seg_deit-t16_1xb8-1.5k_voc12-animals-256x256.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(in_channels=192, loss_decode=dict(_delete_=True, type='CrossEntropyLoss')),
)
mask_dir = 'data/VOCdevkit/VOC2012/SegmentationClassAnimals'
train_dataloader = dict(dataset=dict(mask_dir=mask_dir, data_prefix=dict(ground_truth_path=None)))
