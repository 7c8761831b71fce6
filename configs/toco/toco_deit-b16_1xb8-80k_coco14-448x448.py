"""ToCo, DeiT-B/16 ImageNet-1k, MS COCO 2014, crops of 448.

Reproduces: ToCo (CVPR 2023), Table 2, COCO, the row without a dagger.
Expected:   COCO val segmentation 41.3 at native sizes (multi-scale + CRF). Not run by us.
Time:       published 27 h on 4 GPUs; ours not run.
Command:    python tools/train.py configs/toco/toco_deit-b16_1xb8-80k_coco14-448x448.py
"""

_base_ = './toco_vit-b16-in21k_1xb8-80k_coco14-448x448.py'
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_base_patch16_224-b5f2ef4d.pth'
model = dict(backbone=dict(arch='deit-base', init_cfg=dict(checkpoint=checkpoint)))
