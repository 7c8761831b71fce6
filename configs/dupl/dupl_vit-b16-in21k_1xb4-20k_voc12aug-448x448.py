"""DuPL, ViT-B/16 ImageNet-21k, PASCAL VOC 2012 train_aug, crops of 448.

Reproduces: DuPL (CVPR 2024), the rows with ImageNet-21k weights.
Expected:   VOC val, images squashed to 448x448, branch 1 and 2: CAM 74.1 and 73.2, aux CAM 71.2 and 69.9, segmentation
            69.1 and 70.4 (single scale); at native sizes, the better branch, multi-scale + CRF: val 73.3, test 72.8.
            Not run by us.
Time:       published 8 h 15 min on 2 RTX 3090 (DeiT-B); ours not run.
Command:    python tools/train.py configs/dupl/dupl_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py
"""

_base_ = './dupl_deit-b16_1xb4-20k_voc12aug-448x448.py'
# Google's first ViT (ImageNet-21k, then 1k). Published: ImageNet statistics, though it was trained with 0.5.
checkpoint = (
    'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_p16_224-80ecf9dd.pth'
)
model = dict(backbone=dict(arch='base', init_cfg=dict(checkpoint=checkpoint)))
