"""Fully supervised counterpart of ToCo's decoder: same network, images, photometry and schedule, ground-truth masks.

Reproduces: the fully supervised row of ToCo (CVPR 2023), Table 3, DeiT-B: the bound of its ratio of 86.7 %.
Expected:   VOC val 80.5; the paper does not say at which size. Ours tests at 448x448. Not run by us.
Time:       not run.
Command:    python tools/train.py configs/weaktr/fully_fcn_deit-b16_1xb4-20k_voc12aug-448x448.py
"""

_base_ = './fully_fcn_vit-b16-in21k_1xb4-20k_voc12aug-448x448.py'
checkpoint = 'https://dl.fbaipublicfiles.com/deit/deit_base_patch16_224-b5f2ef4d.pth'
model = dict(backbone=dict(arch='deit-base', init_cfg=dict(checkpoint=checkpoint)))
