"""ToCo, ViT-B/16 AugReg ImageNet-21k, PASCAL VOC 2012 train_aug, crops of 448.

Reproduces: ToCo (CVPR 2023), Tables 1, 2 and 4, the rows marked with a dagger.
Expected:   VOC val CAM 72.3, aux CAM 68.4, segmentation 69.2 (single scale), 71.1 (multi-scale + CRF). Not run by us.
Time:       published 3 h 40 min on 2 A100-40G; ours not run.
Command:    python tools/train.py configs/toco/toco_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py
"""

_base_ = [
    '../_base_/models/toco_vit-b16.py',
    '../_base_/datasets/voc12_aug_tags.py',
    '../_base_/schedules/toco_20k.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py',
]
# Published: ImageNet statistics, though these weights were trained with mean and std 0.5.
checkpoint = 'https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k/resolve/main/pytorch_model.bin'
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
