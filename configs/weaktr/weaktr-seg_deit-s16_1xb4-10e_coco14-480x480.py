"""WeakTr's second stage, Segmenter with DeiT-S/16 ImageNet-1k, MS COCO 2014, crops of 480.

Reproduces: WeakTr (arXiv 2304.01184), Table 3, DeiT-S. The length is ours, 10 epochs of 82,081 images (205,210
            iterations). The paper gives none; the published command leaves the code's default, 100 epochs, with 91
            outputs for raw category ids. It runs four processes with one image each, so that its thresholds are those
            of an image, as they are here; `batch_threshold=True` would be another rule.
Expected:   COCO val 46.9 (multi-scale + CRF). Not run by us.
Time:       not run.
Command:    CONFIG=configs/weaktr/weaktr-seg_deit-s16_1xb4-10e_coco14-480x480.py
            python tools/train.py $CONFIG --cfg-options train_dataloader.dataset.mask_dir=FOLDER/SegmentationClass
            python tools/test.py $CONFIG work_dirs/.../iter_205210.pth --tta --crf
"""

_base_ = [
    '../_base_/models/weaktr-seg_deit-s16.py',
    '../_base_/datasets/coco14_pseudo.py',
    '../_base_/schedules/weaktr-seg_100e.py',
    '../_base_/default_runtime.py',
    '../_base_/weaktr-seg_tta.py',
]
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    decode_head=dict(num_classes=81),
)
max_iters = 205210
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, floor=0.1, by_epoch=False, end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
default_hooks = dict(checkpoint=dict(interval=max_iters // 10))
crf = dict(preset='weaktr-coco')
