"""ToCo, ViT-B/16 AugReg ImageNet-21k, MS COCO 2014, crops of 448.

Reproduces: ToCo (CVPR 2023), Table 2, COCO, the row marked with a dagger.
Expected:   COCO val segmentation 42.3 (multi-scale + CRF). Not run by us.
Time:       published 27 h on 4 GPUs; ours not run.
Command:    python tools/train.py configs/toco/toco_vit-b16-in21k_1xb8-80k_coco14-448x448.py
"""

_base_ = [
    '../_base_/models/toco_vit-b16.py',
    '../_base_/datasets/coco14_tags.py',
    '../_base_/schedules/toco_20k.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py',
]
# Published: ImageNet statistics, though these weights were trained with mean and std 0.5.
checkpoint = 'https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k/resolve/main/pytorch_model.bin'
num_classes = 80
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    cam_head=dict(num_classes=num_classes),
    aux_cam_head=dict(num_classes=num_classes),
    decode_head=dict(num_classes=num_classes + 1),
)
train_dataloader = dict(batch_size=8)
max_iters = 80000
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
