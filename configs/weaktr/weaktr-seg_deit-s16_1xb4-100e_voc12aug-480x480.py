"""WeakTr's second stage, Segmenter with DeiT-S/16 ImageNet-1k, PASCAL VOC 2012 train_aug, crops of 480.

Reproduces: WeakTr (arXiv 2304.01184), Table 2, DeiT-S. What differs from the published code is in README.md here,
            most of all its test, which adds the maps after the decoder's first block.
Expected:   VOC val 74.0, test 74.1 (multi-scale + CRF). Not run by us.
Time:       published 9 h on a TITAN X; ours not run.
Command:    CONFIG=configs/weaktr/weaktr-seg_deit-s16_1xb4-100e_voc12aug-480x480.py
            python tools/train.py $CONFIG --cfg-options train_dataloader.dataset.mask_dir=FOLDER/SegmentationClass
            python tools/test.py $CONFIG work_dirs/.../iter_264600.pth --tta --crf
"""

_base_ = [
    '../_base_/models/weaktr-seg_deit-s16.py',
    '../_base_/datasets/voc12_aug_pseudo.py',
    '../_base_/schedules/weaktr-seg_100e.py',
    '../_base_/default_runtime.py',
    '../_base_/weaktr-seg_tta.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    # the paper has one threshold per image, but its numbers come from code that averages the loss maps of the batch
    decode_head=dict(loss_decode=dict(batch_threshold=True)),
)
default_hooks = dict(checkpoint=dict(interval=26460))
