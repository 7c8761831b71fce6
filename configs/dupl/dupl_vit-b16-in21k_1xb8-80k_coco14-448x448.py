"""DuPL, ViT-B/16 ImageNet-21k, MS COCO 2014, crops of 448.

Reproduces: DuPL (CVPR 2024), COCO, the row with ImageNet-21k weights.
Expected:   COCO val segmentation 44.6 (multi-scale + CRF, the better branch). Not run by us.
Time:       published 31 h 28 min on 8 GPUs (DeiT-B); ours not run.
Command:    python tools/train.py configs/dupl/dupl_vit-b16-in21k_1xb8-80k_coco14-448x448.py
"""

_base_ = './dupl_deit-b16_1xb8-80k_coco14-448x448.py'
# Google's first ViT (ImageNet-21k, then 1k). Published: ImageNet statistics, though it was trained with 0.5.
checkpoint = (
    'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_p16_224-80ecf9dd.pth'
)
model = dict(backbone=dict(arch='base', init_cfg=dict(checkpoint=checkpoint)))
