"""ToCo, DeiT-B/16 ImageNet-1k, PASCAL VOC 2012 train_aug, crops of 448.

Reproduces: ToCo (CVPR 2023), Tables 1, 2 and 4, the rows without a dagger.
Expected:   VOC val CAM 70.5, aux CAM 62.5, segmentation 68.1 (single scale), all with images squashed to 448x448;
            69.8 at native sizes (multi-scale + CRF, `tools/test.py --tta --crf`). Not run by us.
            Without the dense energy loss (model.loss_reg=None): CAM 69.9, aux CAM 61.2, segmentation 66.6.
Time:       published 3 h 40 min on 2 A100-40G; ours not run.
Command:    python tools/train.py configs/toco/toco_deit-b16_1xb4-20k_voc12aug-448x448.py
"""

_base_ = './toco_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py'
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_base_patch16_224-b5f2ef4d.pth'
model = dict(backbone=dict(arch='deit-base', init_cfg=dict(checkpoint=checkpoint)))
